"""What is known of prepared data sets and of labels: JSON files. Imports nothing that computes."""

from dataclasses import dataclass
from pathlib import Path

from sdd.base.errors import DataError
from sdd.base.files import read_record
from sdd.data.settings import LabelsSpec


@dataclass(frozen=True)
class DatasetFacts:
    """What is known of a prepared data set: `dataset.json`."""

    name: str
    source: str
    classes: int
    shape: tuple[int, int, int]  # channels, height, width
    train: int  # images
    test: int
    mean: tuple[float, ...]  # of pixels in 0..1, a value a channel
    std: tuple[float, ...]
    human_noise_rates: dict[str, float]
    bytes: int
    sha256: str
    truth_known: bool = True  # whether the true labels are known, so that noise can be told
    class_names: tuple[str, ...] = ()
    content: str | None = None  # sha256 of the user's own, as planning has it
    code: str | None = None  # what prepared it


def read_facts(path: Path) -> DatasetFacts:
    """Raises DataError, naming the file, when it is missing, damaged or of another version."""
    return read_record(path, DatasetFacts)


@dataclass(frozen=True)
class LabelsFacts:
    """What is known of a chain's labels: `labels.json`."""

    spec: LabelsSpec
    train_images: int
    validation_images: int
    realised_rate: float | None  # None: the true labels are not known
    dataset_sha256: str
    sha256: str


def read_label_facts(path: Path) -> LabelsFacts:
    """Raises DataError, naming the file, when it is missing, damaged or of another version."""
    return read_record(path, LabelsFacts)


def check_dataset(path: Path, labels: LabelsSpec) -> DatasetFacts:
    """The facts at `path`. Raises DataError unless they are of the data set that is labelled."""
    facts = read_facts(path)
    if labels.dataset not in (None, facts.name):
        raise DataError(
            f"{path} is of the data set {facts.name}, not of {labels.dataset}. Delete it and run "
            "snakemake again."
        )
    return facts


def check_labels(path: Path, spec: LabelsSpec, dataset: Path) -> LabelsFacts:
    """The facts at `path`. Raises DataError unless they are of the labels that `spec` describes,
    of the data set that lies at `dataset`."""
    facts = read_label_facts(path)
    wrong = spec.differs(facts.spec)
    if facts.dataset_sha256 != read_facts(dataset).sha256:
        wrong.append("file of the data set")
    if wrong:
        raise DataError(
            f"{path} holds other labels than its place says: those of {facts.spec.noise.name}, "
            f"seed {facts.spec.seed}, with another {', another '.join(wrong)}. Delete it and run "
            "snakemake again."
        )
    return facts
