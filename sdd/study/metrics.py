"""What is stored with a round, in metrics.json; accuracies and sparsities are in percent.

Imports no torch: rounds are adopted, chosen from, collected and planned without it.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sdd.base.files import read_record, write_json
from sdd.base.records import to_dict
from sdd.machine.processor import Kernels
from sdd.machine.reading import EnergyReading
from sdd.study.specs import ModelSpec, OutsideSpec, RoundSpec, TeacherLogitsSpec


@dataclass(frozen=True)
class Score:
    """Accuracy and mean cross-entropy on some images; None for a round that was not trained."""

    accuracy: float | None = None
    loss: float | None = None


@dataclass(frozen=True)
class Epoch:
    """What one epoch of training looked like, on the batches as they were trained."""

    epoch: int
    learning_rate: float
    loss: float
    accuracy: float  # on the noisy labels
    clean_accuracy: float | None  # the same predictions against the true labels, where known


@dataclass(frozen=True)
class Macs:
    """Multiply-accumulates an image: one forward pass, and one training step (and backward).

    Convolutions, linear layers and attention products count, nothing else.
    """

    forward_macs: int
    step_macs: int


@dataclass(frozen=True)
class Histogram:
    """The weights that a round has kept, all prunable layers together, in bins of equal width.

    The bins reach from -reach to reach, a power of two, so that those of two rounds fit into each
    other. What lies beyond is less than a thousandth.
    """

    reach: float
    counts: tuple[int, ...]
    beyond: int


@dataclass(frozen=True)
class Hashes:
    """The sha256 of the data behind each input of a round; None where there is no such input."""

    dataset: str | None
    labels: str | None
    parent: str | None = None
    teacher: str | None = None
    teacher_logits: str | None = None
    origin: str | None = None


@dataclass(frozen=True)
class Layer:
    """A prunable layer after a round, by the name of its weight."""

    weight: str
    kept: int
    total: int
    live_units: int  # with an incoming weight left
    units: int


@dataclass(frozen=True)
class Diagnostics:
    """What a round is like, beside how right it is: see sdd.training.diagnostics."""

    learning_distance: float  # l2, of what is not pruned, from the chain's first weights
    entropy: float | None  # bits, of the units in front of ReLUs and GELUs, on training images
    calibration_error: float  # percent, on the test images
    top5_accuracy: float | None  # percent, on the test images; only of more than ten classes
    layers: tuple[Layer, ...]


@dataclass(frozen=True)
class RoundMetrics:
    """A round: what it was made from, what came out, what it took."""

    spec: RoundSpec
    inputs: Hashes
    round: int
    sparsity: float | None
    weights_kept: int | None
    weights_total: int
    train: Score  # on the noisy labels that it was trained on
    train_clean: Score  # on the true labels of the same images
    validation: Score
    test: Score
    validation_so_far: tuple[float, ...]  # accuracies of the chain's trained rounds up to this one
    ended: int | None  # the round after which early stopping really ended the chain
    history: tuple[Epoch, ...]
    noise_rate: float | None  # realised; None: the true labels are not known
    macs: Macs
    flops: int  # the paper's rule: dense, a MAC counted as one
    flops_computed: int
    train_images: int
    seconds: float
    runs: int  # jobs that have worked at it
    energy: EnergyReading
    device: str | None
    threads: int | None
    versions: dict[str, str]
    weights_sha256: str
    # Whose roundings the bits have: None in metrics from before it was written down.
    instruction_set: str | None = None
    # None in metrics from before they were taken, and of a round that was not trained.
    diagnostics: Diagnostics | None = None
    # None likewise, and of a round that was not trained.
    weights: Histogram | None = None
    # What its layers were multiplied with, which the bits depend on too; None likewise.
    kernels: Kernels | None = None

    def to_dict(self) -> dict[str, Any]:
        return to_dict(self) | {"spec": self.spec.to_dict()}


@dataclass(frozen=True)
class ModelFacts:
    """What is known of a model before it is trained: `model.json`."""

    spec: ModelSpec
    parameters: int
    layers: dict[str, int]  # those that may be pruned, with how many weights

    def to_dict(self) -> dict[str, Any]:
        return to_dict(self) | {"spec": self.spec.to_dict()}


@dataclass(frozen=True)
class OutsideFacts:
    """What is known of a teacher from outside, once it is adopted: `outside.json`.

    Nothing of how it was trained, and of what that cost.
    """

    spec: OutsideSpec
    macs: Macs
    weights_sha256: str  # of its weights as they are kept here

    def to_dict(self) -> dict[str, Any]:
        return to_dict(self) | {"spec": self.spec.to_dict()}


@dataclass(frozen=True)
class TeacherLogitsFacts:
    """What is known of a file of teacher logits: `logits.json`."""

    spec: TeacherLogitsSpec
    teacher: str  # the path of its chain; of one from outside, its place
    round: int | None  # None: from outside
    teacher_sha256: str  # of its weights
    labels_sha256: str
    shape: tuple[int, int, int]  # images, outcomes of the augmentation, classes
    type: str
    flops: int
    sha256: str

    @property
    def named(self) -> str:
        """Whose logits they are, for messages."""
        return self.teacher if self.round is None else f"round {self.round} of {self.teacher}"


@dataclass(frozen=True)
class TeacherLogitsCost:
    """What it took to make them: `cost.json`, apart since it differs from time to time."""

    seconds: float
    energy: EnergyReading
    device: str
    logits_sha256: str | None = None  # None in those from before it was written down


def read_metrics(path: Path) -> RoundMetrics:
    """Raises DataError, naming the file, when it is missing, damaged or of another version."""
    return read_record(path, RoundMetrics)


def write_metrics(path: Path, metrics: RoundMetrics) -> None:
    write_json(path, metrics.to_dict())
