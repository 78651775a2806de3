"""The original files of the data sets that torchvision downloads, and CIFAR-N's human labels.

They are read as they were published, packed or not, and every file's unpacked content is checked
against its known sha256: a data set is what its name says, or it is an error.
"""

import gzip
import hashlib
import io
import os
import pickle
import struct
import tarfile
import zlib
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sdd.base.errors import DataError
from sdd.data.arrays import Arrays
from sdd.data.datasets import Dataset, HumanLabels


class Published(NamedTuple):
    """Where torchvision keeps a data set's files, the archive that holds them, their sha256."""

    folder: str
    archive: str | None
    train: dict[str, str]
    test: dict[str, str]


PUBLISHED = {
    "MNIST": Published(
        "MNIST/raw", None,
        {
            "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
            "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        },
        {
            "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
            "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
        },
    ),
    # Of Debian's copy. With the names and times of the published headers put back, its .gz files
    # have the md5 that torchvision expects.
    "FashionMNIST": Published(
        "FashionMNIST/raw", None,
        {
            "train-images-idx3-ubyte": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
            "train-labels-idx1-ubyte": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
        },
        {
            "t10k-images-idx3-ubyte": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
            "t10k-labels-idx1-ubyte": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
        },
    ),
    "CIFAR10": Published(
        "cifar-10-batches-py", "cifar-10-python.tar.gz",
        {
            "data_batch_1": "54636561a3ce25bd3e19253c6b0d8538147b0ae398331ac4a2d86c6d987368cd",
            "data_batch_2": "766b2cef9fbc745cf056b3152224f7cf77163b330ea9a15f9392beb8b89bc5a8",
            "data_batch_3": "0f00d98ebfb30b3ec0ad19f9756dc2630b89003e10525f5e148445e82aa6a1f9",
            "data_batch_4": "3f7bb240661948b8f4d53e36ec720d8306f5668bd0071dcb4e6c947f78e9682b",
            "data_batch_5": "d91802434d8376bbaeeadf58a737e3a1b12ac839077e931237e0dcd43adcb154",
        },
        {"test_batch": "f53d8d457504f7cff4ea9e021afcf0e0ad8e24a91f3fc42091b8adef61157831"},
    ),
    "CIFAR100": Published(
        "cifar-100-python", "cifar-100-python.tar.gz",
        {"train": "735e79b04f092ca3d2e6d07f368c0a7d70d48c48d28865950cc24454cf45129b"},
        {"test": "4b67687d9933c4db8f0831104447f15b93774f4f464bd0516f0f0f2ac83b7864"},
    ),
}  # fmt: skip
# What damaged files raise when they are unpacked; gzip's own error is an OSError.
DAMAGE = (OSError, EOFError, zlib.error, tarfile.TarError)
LABEL_KEYS = {"CIFAR10": "labels", "CIFAR100": "fine_labels"}


def read(dataset: Dataset, downloads: Path, folder: Path | None) -> Arrays:
    """The arrays of `dataset` from its original files in `folder`; None: they are downloaded.

    Downloads are kept in `downloads` for another time. Raises DataError, with what was expected
    where and what is there, for files that are missing or are not the published ones.
    """
    assert dataset.torchvision
    root = folder or downloads
    if folder is None:
        _download(dataset, dataset.torchvision, root)
    published = PUBLISHED[dataset.torchvision]
    shelf = Shelf(dataset.name, root, published, downloaded=folder is None)
    arrays: Arrays = {}
    for part, files in (("train", published.train), ("test", published.test)):
        contents = [shelf.content(name, sha256) for name, sha256 in files.items()]
        parse = _cifar if published.archive else _idx
        images, labels = parse(contents, LABEL_KEYS.get(dataset.torchvision, ""))
        arrays[f"{part}_images"] = np.ascontiguousarray(images)
        arrays[f"{part}_labels"] = labels.astype(np.int64)
    if dataset.human:
        true = arrays["train_labels"]
        arrays |= _human_labels(dataset, dataset.human, true, root, download=folder is None)
    return arrays


class Shelf:
    """A folder in which one data set's original files are looked for."""

    def __init__(self, name: str, root: Path, published: Published, downloaded: bool) -> None:
        self.name, self.root, self.published = name, root, published
        self.remedy = (
            "Delete it and run snakemake again to download it."
            if downloaded
            else "Put the published file there, or name no data.folder to download it."
        )
        self._archive: dict[str, bytes] | None = None

    def content(self, file: str, sha256: str) -> bytes:
        """The unpacked content of a published file. Raises DataError unless it is that."""
        path, content = self._find(file)
        if hashlib.sha256(content).hexdigest() != sha256:
            what = path if path.name in (file, f"{file}.gz") else f"{file} in {path}"
            raise DataError(
                f"{self.name}: {what} is not the published file: its unpacked content has another "
                f"sha256. {self.remedy}"
            )
        return content

    def _find(self, file: str) -> tuple[Path, bytes]:
        """Where the file lies, and its unpacked content.

        Whatever is no file, such as a FIFO, counts as missing: nobody waits for it.
        """
        inner = self.root / self.published.folder
        archive = self.root / self.published.archive if self.published.archive else None
        for path in (inner / file, inner / f"{file}.gz"):
            if os.path.isfile(path):  # unlike Path's, False also where one may not look
                return path, self._unpacked(path)
        if archive and os.path.isfile(archive):
            return archive, self._member(archive, file)
        # By a slip, the folder that was named is the inner one itself.
        for path in (self.root / file, self.root / f"{file}.gz"):
            if os.path.isfile(path):
                return path, self._unpacked(path)
        packed = archive or f"{inner / file}.gz"
        raise DataError(
            f"{self.name}: there is no file {inner / file}, and no {packed}. "
            f"{_holdings(inner if os.path.isdir(inner) else self.root)} Put the published files "
            "there, or name no data.folder to download them."
        )

    def _unpacked(self, path: Path) -> bytes:
        try:
            content = path.read_bytes()
            return gzip.decompress(content) if path.suffix == ".gz" else content
        except DAMAGE as error:
            raise DataError(
                f"{self.name}: {path} cannot be read ({error}). {self.remedy}"
            ) from None

    def _member(self, path: Path, file: str) -> bytes:
        if self._archive is None:
            wanted = {*self.published.train, *self.published.test}
            try:
                with tarfile.open(path, "r:gz") as archive:
                    self._archive = {
                        name: archive.extractfile(member).read()  # type: ignore[union-attr]
                        for member in archive
                        if member.isfile() and (name := Path(member.name).name) in wanted
                    }
            except DAMAGE as error:
                raise DataError(
                    f"{self.name}: {path} cannot be read ({error}). {self.remedy}"
                ) from None
        if file not in self._archive:
            raise DataError(f"{self.name}: {path} holds no {file}. {self.remedy}")
        return self._archive[file]


def _holdings(folder: Path) -> str:
    """What is in a folder, for a message."""
    try:
        names = sorted(os.listdir(folder))
    except FileNotFoundError:
        return f"There is no folder {folder}."
    except NotADirectoryError:
        return f"{folder} is no folder."
    except OSError as error:
        return f"{folder} cannot be read ({error.strerror})."
    shown = ", ".join(names[:10]) + (", ..." if len(names) > 10 else "")
    return f"{folder} holds {shown}." if names else f"{folder} is empty."


def _idx(contents: list[bytes], _: str) -> tuple[NDArray, NDArray]:
    """Images [N, 1, height, width] and labels [N] from the two idx files."""
    images, labels = (_idx_array(content) for content in contents)
    return images[:, None], labels


def _idx_array(content: bytes) -> NDArray:
    dimensions = content[3]
    shape = struct.unpack(f">{dimensions}I", content[4 : 4 + 4 * dimensions])
    return np.frombuffer(content, np.uint8, offset=4 + 4 * dimensions).reshape(shape)


def _cifar(contents: list[bytes], key: str) -> tuple[NDArray, NDArray]:
    """Images [N, 3, 32, 32] and labels [N] from batches, whose content is known: no harm in it."""
    batches = [pickle.loads(content, encoding="latin1") for content in contents]
    images = np.concatenate([batch["data"] for batch in batches])
    return images.reshape(-1, 3, 32, 32), np.concatenate([batch[key] for batch in batches])


def _download(dataset: Dataset, name: str, root: Path) -> None:
    datasets = import_torchvision().datasets
    try:
        for train in (True, False):
            getattr(datasets, name)(root, train=train, download=True)
    except Exception as error:  # torchvision has no exception class of its own
        raise DataError(
            f"{dataset.name}: {name} cannot be downloaded to {root} ({error}). Check the network "
            "and try again, or get the original files by other means, and name their folder as "
            "data.folder."
        ) from error


def _human_labels(
    dataset: Dataset, human: HumanLabels, true: NDArray, root: Path, download: bool
) -> Arrays:
    """Every kind of human labels, after a check that the file's clean labels are the true ones."""
    path = root / human.file
    if download:
        from torchvision.datasets.utils import download_url

        try:
            download_url(human.url, root, human.file, human.md5)
        except Exception as error:  # whatever lies underneath
            raise DataError(
                f"{dataset.name}: {human.file} cannot be downloaded to {root} ({error}). Check the "
                "network and try again, or get it by other means and name its folder as "
                "data.folder."
            ) from error
    published = f"It is published at {human.url}."
    if not os.path.isfile(path):
        raise DataError(
            f"{dataset.name}: there is no {path}, the file of its human labels. {_holdings(root)} "
            f"{published}"
        )
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{dataset.name}: {path} cannot be read ({error}).") from None
    if hashlib.md5(content, usedforsecurity=False).hexdigest() != human.md5:
        raise DataError(
            f"{dataset.name}: {path} is not the published file: it has another md5. {published}"
        )
    try:
        labels = _read_pt(content)
        clean = labels["clean_label"]
        arrays = {f"human_{kind}": labels[key] for kind, key in human.kinds.items()}
    except Exception as error:  # torch raises whatever lies underneath
        raise DataError(
            f"{dataset.name}: {path} cannot be read ({error}), though it is the published file. "
            "Install the pinned versions of torch and numpy."
        ) from error
    if not np.array_equal(clean, true):
        raise DataError(
            f"{path}: its clean labels are not those of {dataset.torchvision}'s training images, "
            "so its human labels belong to other images or another order. Replace the file."
        )
    return arrays


def _read_pt(file: bytes) -> Arrays:
    """Label arrays from a torch file, of which only numpy's own types may be unpickled.

    The authors pickled with numpy 1, whose `_reconstruct` has since moved; hence the alias.
    """
    import torch

    reconstruct: Any = np.empty(0).__reduce__()[0]
    allowed = [
        reconstruct,
        (reconstruct, "numpy.core.multiarray._reconstruct"),
        np.ndarray,
        np.dtype,
        np.dtypes.Int64DType,
    ]
    with torch.serialization.safe_globals(allowed):
        content = torch.load(io.BytesIO(file), weights_only=True)
    return {key: np.array(labels, dtype=np.int64) for key, labels in content.items()}


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
