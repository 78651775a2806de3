"""From true labels to a chain's labels: hold out the validation set, corrupt the rest."""

from pathlib import Path

import numpy as np

from sdd.base.errors import DataError
from sdd.base.seeds import derive_seed
from sdd.data import noise
from sdd.data.arrays import Arrays, read_dataset
from sdd.data.facts import DatasetFacts, LabelsFacts, check_dataset
from sdd.data.labels import ChainLabels, write_labels
from sdd.data.settings import LabelsSpec


def make(spec: LabelsSpec, dataset: Path, output: Path) -> LabelsFacts:
    """Holds out the validation set, corrupts the rest, and writes `output` and its data file.

    The subset and the hold-out are the same for every seed, so that seeds differ in noise and
    training alone. The noise is drawn from the spec's seed. Clean validation labels are held out
    before the noise is put in; noisy ones are corrupted like the training labels. A data set that
    brings images to validate on gives none of its training images away.
    """
    facts, arrays = check_dataset(dataset, spec), read_dataset(dataset)
    train, held_out = _parts(spec, dataset, arrays)
    own_validation = "validation_labels" in arrays
    truth = _truth(spec, facts, arrays)
    validated = noise.Truth(arrays["validation_labels"], facts.classes, facts.name) if (
        own_validation
    ) else truth  # fmt: skip

    def corrupt(of: noise.Truth, index: np.ndarray, purpose: str) -> np.ndarray:
        rng = np.random.default_rng(derive_seed(spec.seed, "noise", purpose))
        return noise.corrupt(spec.noise, of.at(index), rng)

    noisy = spec.validation.labels == "noisy"
    made = ChainLabels(
        train_index=train,
        train_labels=corrupt(truth, train, "train"),
        train_true_labels=truth.labels[train] if facts.truth_known else None,
        validation_index=held_out,
        validation_labels=corrupt(validated, held_out, "validation")
        if noisy
        else validated.labels[held_out].astype(np.int64),
    )
    rate = None
    if made.train_true_labels is not None:
        rate = noise.realised_rate(made.train_labels, made.train_true_labels)
    return write_labels(output, made, spec, realised_rate=rate, dataset_sha256=facts.sha256)


def _parts(spec: LabelsSpec, dataset: Path, arrays: Arrays) -> tuple[np.ndarray, np.ndarray]:
    """Indices of the training images to train on, and of the images to validate on."""
    labels = arrays["train_labels"].astype(np.int64)
    chosen = np.arange(len(labels))
    if spec.subset is not None:
        if not 0 < spec.subset <= len(labels):
            raise DataError(
                f"train_images: {spec.subset:,} of the {len(labels):,} training images that "
                f"{dataset} describes cannot be taken."
            )
        rng = np.random.default_rng(derive_seed(0, "subset"))
        chosen = noise.choose(labels, spec.subset, rng)
    if "validation_labels" in arrays:
        return chosen, np.arange(len(arrays["validation_labels"]))
    train, held_out = noise.hold_out(
        labels[chosen],
        spec.validation.fraction,
        np.random.default_rng(derive_seed(0, "hold-out")),
    )
    return chosen[train], chosen[held_out]


def _truth(spec: LabelsSpec, facts: DatasetFacts, arrays: Arrays) -> noise.Truth:
    """The true labels of the training images; where they are not known, the labels as they are."""
    given = arrays["train_labels"].astype(np.int64)
    return noise.Truth(
        arrays.get("train_true_labels", given).astype(np.int64),
        facts.classes,
        facts.name,
        human=arrays[f"human_{spec.noise.labels}"] if spec.noise.labels else None,
        given=given,
    )
