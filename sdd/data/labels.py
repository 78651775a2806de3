"""The labels a chain trains and validates on: noisy ones, the true ones beside them."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from sdd.base import layout
from sdd.base.errors import DataError
from sdd.base.files import replacing, sha256, write_json
from sdd.base.records import to_dict
from sdd.data.facts import LabelsFacts, read_label_facts
from sdd.data.settings import LabelsSpec


@dataclass(frozen=True)
class ChainLabels:
    """Which images of the training set are trained on and held out, and with which labels.

    All int64: indices into the data set's training images [n], and their labels [n].
    """

    train_index: np.ndarray
    train_labels: np.ndarray
    train_true_labels: np.ndarray | None  # None: not known
    validation_index: np.ndarray
    validation_labels: np.ndarray


def write_labels(
    path: Path,
    labels: ChainLabels,
    spec: LabelsSpec,
    *,
    realised_rate: float | None,
    dataset_sha256: str,
) -> LabelsFacts:
    """Writes the facts to `path`, and the labels beside them."""
    data = layout.data_of(path)
    with replacing(data) as temporary:
        known = {name: array for name, array in vars(labels).items() if array is not None}
        save_file(known, temporary)
    facts = LabelsFacts(
        spec,
        len(labels.train_index),
        len(labels.validation_index),
        realised_rate,
        dataset_sha256,
        sha256(data),
    )
    write_json(path, to_dict(facts))
    return facts


def read_labels(path: Path) -> ChainLabels:
    """The labels whose facts are at `path`. Raises DataError when they are damaged."""
    data = layout.data_of(path)
    repair = f"Delete {path} and run snakemake again."
    if not data.is_file():  # nor wait for one that never ends, such as a FIFO
        raise DataError(f"{data} is missing. {repair}")
    try:
        if sha256(data) != read_label_facts(path).sha256:
            raise DataError(f"{data} is not the file that {path.name} describes. {repair}")
        return ChainLabels(**{"train_true_labels": None} | load_file(data))
    except (OSError, SafetensorError) as error:
        raise DataError(f"{data} cannot be read ({error}). {repair}") from None
