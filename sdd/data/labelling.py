"""From true labels to a chain's labels: hold out the validation set, corrupt the rest."""

from pathlib import Path

import numpy as np

from sdd.base.seeds import derive_seed
from sdd.data import noise
from sdd.data.arrays import read_dataset
from sdd.data.facts import LabelsFacts, read_facts
from sdd.data.labels import ChainLabels, write_labels
from sdd.data.settings import LabelsSpec


def make(spec: LabelsSpec, dataset: Path, output: Path) -> LabelsFacts:
    """Holds out the validation set, corrupts the rest, and writes `output` and its data file.

    The hold-out is the same for every seed, so that seeds differ in noise and training alone.
    The noise is drawn from the spec's seed. Clean validation labels are held out before the noise
    is put in; noisy ones are corrupted like the training labels.
    """
    facts, arrays = read_facts(dataset), read_dataset(dataset)
    labels = arrays["train_labels"].astype(np.int64)
    human = arrays[f"human_{spec.noise.labels}"] if spec.noise.labels else None
    train, held_out = noise.hold_out(
        labels, spec.validation.fraction, np.random.default_rng(derive_seed(0, "hold-out"))
    )

    def corrupt(index: np.ndarray, purpose: str) -> np.ndarray:
        return noise.corrupt(
            spec.noise,
            noise.Truth(
                labels[index], facts.classes, facts.name, None if human is None else human[index]
            ),
            np.random.default_rng(derive_seed(spec.seed, "noise", purpose)),
        )

    noisy_validation = spec.validation.labels == "noisy"
    made = ChainLabels(
        train_index=train,
        train_labels=corrupt(train, "train"),
        train_true_labels=labels[train],
        validation_index=held_out,
        validation_labels=corrupt(held_out, "validation") if noisy_validation else labels[held_out],
    )
    return write_labels(
        output,
        made,
        spec,
        realised_rate=noise.realised_rate(made.train_labels, made.train_true_labels),
        dataset_sha256=facts.sha256,
    )
