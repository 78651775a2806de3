"""From true labels to a chain's labels: hold out the validation set, corrupt the rest."""

from pathlib import Path
from typing import Any

import numpy as np

from sdd import datasets, label_noise
from sdd import labels as labels_file
from sdd.files import read_json, write_json
from sdd.labels import Labels
from sdd.settings import derive_seed


def make(spec: dict[str, Any], dataset_folder: Path, output: Path) -> dict[str, Any]:
    """Holds out the validation set, corrupts the rest, and writes `output` and its data file.

    The hold-out is the same for every seed, so that seeds differ in noise and training alone.
    The noise is drawn from the spec's seed. Clean validation labels are held out before the noise
    is put in; noisy ones are corrupted like the training labels.
    """
    facts = read_json(dataset_folder / "dataset.json")
    arrays = datasets.load(dataset_folder)
    labels = arrays["train_labels"].astype(np.int64)
    noise, validation = spec["noise"], spec["validation"]
    human = arrays[f"human_{noise['labels']}"] if noise["kind"] == "human" else None

    train, held_out = label_noise.hold_out(
        labels, validation["fraction"], np.random.default_rng(derive_seed(0, "hold-out"))
    )

    def corrupt(index: np.ndarray, purpose: str) -> np.ndarray:
        return label_noise.corrupt(
            labels[index],
            facts["classes"],
            noise["kind"],
            noise["rate"],
            np.random.default_rng(derive_seed(spec["seed"], "noise", purpose)),
            dataset=facts["name"],
            human=None if human is None else human[index],
        )

    result = Labels(
        train_index=train,
        train_labels=corrupt(train, "train"),
        train_true_labels=labels[train],
        validation_index=held_out,
        validation_labels=(
            corrupt(held_out, "validation") if validation["labels"] == "noisy" else labels[held_out]
        ),
    )
    metadata = {
        "spec": spec,
        "train_images": len(train),
        "validation_images": len(held_out),
        "realised_rate": label_noise.realised_rate(result.train_labels, result.train_true_labels),
        "dataset_sha256": facts["sha256"],
        "sha256": labels_file.save(output, result),
    }
    write_json(output, metadata)
    return metadata
