"""What others have measured: the paper's printed tables, and points read off published figures.

Pure Python: the plan counts FLOPs like the paper, and must not wait for pandas.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from sdd.study.methods import OUTSIDE

# The methods of the paper's tables, by which their rows are found.
VANILLA, STOPPED, OPTIMAL = "no early stop", "early stop", "lambda_opt, early stop"


def called(teacher: str) -> str:
    """What a teacher is called in a sentence."""
    return "a teacher from outside" if teacher == OUTSIDE else f"the {teacher} teacher"


def taught_by(teacher: str) -> str:
    """The method of a student of a dense teacher, the best one, ..."""
    return f"{called(teacher).partition(' ')[2]}, early stop"


DENSE, BEST = taught_by("dense"), taught_by("best")


class Printed(NamedTuple):
    """A row of the paper's tables 1 and 2; `trainings` is inferred from its FLOPs."""

    trainings: int
    flops: float
    co2_g: float
    test_accuracy: float  # percent
    deviation: float
    sparsity: float  # percent


@dataclass(frozen=True)
class PaperTable:
    """One of the paper's tables, under the names that this project has for its setting.

    `models` are what it may have been: of the same parameters and MACs, so of the same accounting.
    """

    title: str
    dataset: str
    noise: str
    models: tuple[str, ...]
    macs: float  # multiply-accumulates an image, forward
    epochs: int
    rows: dict[str, Printed]

    def beside(
        self, dataset: str, noise: str, model: str, method: str, how: "Method"
    ) -> dict[str, float]:
        """Columns with its row of that method; NaN where it has none for this setting, or where
        it is not pruned and retrained as the paper does."""
        same = (dataset, noise, how) == (self.dataset, self.noise, Method())
        same = same and model in self.models
        row = self.rows.get(method) if same else None
        names = {
            "paper_flops": "flops",
            "paper_co2_g": "co2_g",
            "paper_test_accuracy_mean": "test_accuracy",
            "paper_test_accuracy_deviation": "deviation",
            "paper_sparsity": "sparsity",
        }
        return {name: getattr(row, field, float("nan")) for name, field in names.items()}


TABLE_1 = PaperTable(
    "ViT, CIFAR-10, 10 %", "cifar10", "symmetric-0.1", ("vit",), macs=641.0e6, epochs=200,
    rows={
        VANILLA: Printed(23, 443.68e15, 563.5, 74.47, 0.01, 99.26),
        STOPPED: Printed(15, 289.33e15, 367.5, 68.07, 0.02, 95.60),
        OPTIMAL: Printed(10, 192.89e15, 245.0, 71.48, 0.06, 86.58),
    },
)  # fmt: skip
TABLE_2 = PaperTable(
    "VGG-like, CIFAR-10, 20 %", "cifar10", "symmetric-0.2", ("vgg-5-5-averaged", "vgg-5-5"),
    macs=67.2e6, epochs=160,
    rows={
        VANILLA: Printed(30, 48.84e15, 510, 74.52, 1.20, 99.62),
        STOPPED: Printed(3, 4.88e15, 51, 60.23, 3.37, 36.00),
        DENSE: Printed(22, 35.82e15, 374, 81.52, 1.85, 99.26),
        BEST: Printed(22, 35.82e15, 374, 86.89, 0.16, 99.26),
    },
)  # fmt: skip


def paper_flops(trainings: int, epochs: int, macs: float, images: int = 50_000) -> float:
    """FLOPs as the paper counts them, inferred from its tables.

    Every round counts as dense; a forward pass costs 1 MAC, a backward pass 2, and a MAC counts
    as one operation.
    """
    return trainings * epochs * images * 3 * macs


Points = tuple[tuple[float, float], ...]


class Method(NamedTuple):
    """How chains are pruned and retrained, in the words of a study's config."""

    criterion: str = "magnitude"
    scope: str = "global"
    retraining: str = "learning-rate-rewinding"
    schedule: str = "iterative"
    keep: str = "none"  # layers that are never pruned, with a space between two


class ReadOff(NamedTuple):
    """Points (sparsity, test accuracy), both in percent, read off a published figure."""

    dataset: str
    noise: str
    model: str
    source: str
    points: Points
    method: Method = Method()


def _rounds(dense: float, *later: tuple[int, float]) -> Points:
    """The paper's points, known by round: each prunes 20 % of what is left."""
    return tuple((100 * (1 - 0.8**r), accuracy) for r, accuracy in ((0, dense), *later))


PAPER, HE = "the paper, read off its fig. 2", "He et al. 2022, read off"
READ_OFF = [
    # +-0.2 points; valley, peak and last round.
    *(
        ReadOff(dataset, noise, "vit", PAPER, points)
        for dataset, noise, points in (
            ("cifar10", "symmetric-0.1", _rounds(70.9, (14, 68.1), (22, 74.5), (30, 63.5))),
            ("cifar10", "symmetric-0.2", _rounds(64.1, (13, 58.9), (22, 71.3), (30, 62.3))),
            ("cifar10", "symmetric-0.5", _rounds(42.8, (14, 33.7), (25, 61.3), (30, 36.4))),
            ("cifar100", "symmetric-0.1", _rounds(45.1, (12, 43.3), (20, 47.3), (30, 27.5))),
            ("cifar100", "symmetric-0.2", _rounds(39.2, (12, 36.1), (21, 44.1), (30, 26.8))),
            ("cifar100", "symmetric-0.5", _rounds(23.5, (13, 19.8), (22, 31.5), (30, 15.7))),
            ("cifar100n", "human", _rounds(36.6, (12, 33.9), (21, 40.4), (30, 22.3))),
        )
    ),
    # +-0.3 points; valley, peak and end. 20 % of their labels are drawn from all classes, and their
    # weights are rewound, LeNet's to the first ones, with its last layer never pruned.
    *(
        ReadOff(
            dataset, "symmetric-all-0.2", model, HE, points,
            Method(retraining="weight-rewinding", keep=keep),
        )
        for dataset, model, keep, points in (
            ("mnist", "lenet-300-100", "last",
             ((0, 83.4), (89.3, 76.7), (98.8, 95.3), (99.53, 86.8))),
            ("cifar10", "resnet18", "none", ((0, 83.3), (98.2, 78.3), (99.5, 87.7), (99.8, 86.3))),
            ("cifar100", "resnet18", "none", ((0, 60.5), (97.2, 54.3), (99.1, 59.8), (99.6, 54.8))),
        )
    ),
]  # fmt: skip


def read_off(dataset: str, noise: str, model: str, method: Method) -> Iterator[tuple[str, Points]]:
    """(source, points) of every published curve of that setting; of no other noise or method."""
    noise = "human" if noise.startswith("human-") else noise
    for known in READ_OFF:
        if (*known[:3], known.method) == (dataset, noise, model, method):
            yield known.source, known.points


class Said(NamedTuple):
    """What the paper says to a claim: its number, its words, its setting."""

    number: float = float("nan")
    words: str = ""
    setting: str = ""


def said_of_the_valley(dataset: str, noise: str, model: str) -> Said:
    """How deep the valley is in its figure 2: of that setting, else of its first one, a ViT's."""
    own = [c for c in READ_OFF if (c.dataset, c.noise, c.model) == (dataset, noise, model)]
    first = READ_OFF[0]
    curve = next((c for c in own if c.source == PAPER), first)
    dense, bottom, peak, *_ = (accuracy for _, accuracy in curve.points)
    title = TABLE_1.title if curve is first else f"ViT, {dataset}, {noise}"
    return Said(min(dense, peak) - bottom, "a valley, then a second rise", title)


def said_of_l2(model: str) -> Said:
    """What its section 4 says of the valley at lambda_opt, by the kind of model."""
    if model.startswith("resnet"):
        return Said(words="the valley stays, whatever λ", setting="ResNet-18, CIFAR")
    if model.startswith("lenet"):
        return Said(words="no valley", setting="LeNet-300-100, MNIST")
    return Said(words="no valley", setting="ViT, CIFAR")
