"""The labels a chain trains and validates on: noisy ones, the true ones beside them."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from sdd.errors import DataError
from sdd.files import read_json, replacing, sha256


@dataclass(frozen=True)
class Labels:
    """Which images of the training set are trained on and held out, and with which labels.

    All int64: indices into the data set's training images [n], and their labels [n].
    """

    train_index: np.ndarray
    train_labels: np.ndarray
    train_true_labels: np.ndarray
    validation_index: np.ndarray
    validation_labels: np.ndarray


def save(path: Path, labels: Labels) -> str:
    """Writes the data file beside the JSON at `path`, and returns its sha256."""
    data = path.with_suffix(".safetensors")
    with replacing(data) as temporary:
        save_file(vars(labels), temporary)
    return sha256(data)


def load(path: Path) -> Labels:
    """Reads what `save` wrote beside the JSON at `path`. Raises DataError when it is damaged."""
    data = path.with_suffix(".safetensors")
    repair = f"Delete {path} and run snakemake again."
    try:
        if sha256(data) != read_json(path)["sha256"]:
            raise DataError(f"{data} is not the file that {path.name} describes. {repair}")
        return Labels(**load_file(data))
    except (FileNotFoundError, SafetensorError) as error:
        raise DataError(f"{data} cannot be read ({error}). {repair}") from None
