"""Data of the user's own: an .npz file, or a folder of images with a folder for each class, and
maybe a list of the true ones beside them.

`survey` reads no more than planning a study needs; `read` reads everything, for `preparation`.
"""

import csv
import hashlib
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sdd.base.errors import DataError
from sdd.base.files import opened, sha256
from sdd.base.names import listed
from sdd.data.arrays import Arrays
from sdd.data.datasets import Dataset

READER = "sdd.data.own:read"
REQUIRED = ("train_images", "train_labels", "test_images", "test_labels")
OPTIONAL = ("train_true_labels", "validation_images", "validation_labels", "class_names")
SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm"}
MOST_CHANNELS = 4
TRUE_LABELS = "true_labels.csv"  # beside train/, where the folders' names are not all right
COLUMNS = ["path", "label"]
# What damaged, encrypted or strangely packed archives raise, and arrays that are cut off.
DAMAGE = (
    KeyError, ValueError, OSError, EOFError, RuntimeError, NotImplementedError, MemoryError,
    zlib.error, zipfile.BadZipFile,
)  # fmt: skip


def survey(name: str, source: Path, image_size: int | None) -> Dataset:
    """What is known of it before it is prepared. Raises DataError, naming file and array."""
    if source.is_dir():
        return _folder_survey(name, source, image_size)
    with _opened(source) as archive:
        shapes = {array: _header(archive, source, array) for array in _members(archive, source)}
        labels = {key: _array(archive, source, key) for key in shapes if key.endswith("_labels")}
        names = _class_names(archive, source) if "class_names" in shapes else ()
        content = _file_content(archive, shapes)
    classes = len(names) or _counted_classes(source, labels)
    channels_first = _as_channels_first(source, "train_images", shapes["train_images"])
    _check(source, shapes, labels, classes)
    return Dataset(
        name, classes, channels_first[1:], channels_first[0], shapes["test_images"][0], (), (),
        None, "the user's own", reader=READER, class_names=names, content=content,
        validation=shapes["validation_images"][0] if "validation_images" in shapes else 0,
    )  # fmt: skip


def read(dataset: Dataset, downloads: Path, source: Path | None) -> Arrays:
    """All arrays, images as uint8 [N, C, H, W]. Raises DataError, naming file and array."""
    assert source
    if source.is_dir():
        return _folder(dataset, source)
    with _opened(source) as archive:
        arrays = {key: _array(archive, source, key) for key in _members(archive, source)}
    arrays.pop("class_names", None)
    for key, values in arrays.items():
        if key.endswith("_images"):
            shape = _as_channels_first(source, key, values.shape)
            moved = values[:, None] if values.ndim == 3 else values
            if moved.shape != shape:
                moved = np.moveaxis(moved, 3, 1)
            arrays[key] = np.ascontiguousarray(moved)
        else:
            arrays[key] = values.astype(np.int64)
    return arrays


# --- A file ---


def _opened(source: Path) -> zipfile.ZipFile:
    if not source.is_file():
        raise DataError(
            f"{source} is no file. Name an .npz file, or a folder with train/ and test/ in it."
        )
    try:
        return zipfile.ZipFile(source)
    except (zipfile.BadZipFile, OSError) as error:
        raise DataError(
            f"{source} cannot be read as an .npz file ({error}). Write it with numpy.savez."
        ) from None


def _members(archive: zipfile.ZipFile, source: Path) -> list[str]:
    """The arrays that it holds, known and enough."""
    names = [name.removesuffix(".npy") for name in archive.namelist()]
    for name in names:
        if name not in (*REQUIRED, *OPTIONAL):  # maybe misspelt, and left out without a word
            close = get_close_matches(name, (*REQUIRED, *OPTIONAL), 1)
            meant = f" Did you mean {close[0]}?" if close else ""
            raise DataError(
                f"{source} holds {name}, which is not known.{meant} It may hold "
                f"{', '.join((*REQUIRED, *OPTIONAL))}, and nothing else."
            )
    missing = [name for name in REQUIRED if name not in names]
    if missing:
        raise DataError(
            f"{source} holds no {missing[0]}. It must hold {', '.join(REQUIRED)}, and may hold "
            f"{', '.join(OPTIONAL)}; it holds {', '.join(names) or 'nothing'}."
        )
    if ("validation_images" in names) != ("validation_labels" in names):
        raise DataError(f"{source} holds validation_images or validation_labels, but not both.")
    return names


def _file_content(archive: zipfile.ZipFile, arrays: Mapping[str, Any]) -> str:
    """What the arrays hold, by the checksums in the archive: nothing else of it is read.

    Written again, the same arrays are the same content; the times in the archive do not count.
    """
    digest = hashlib.sha256()
    for array in sorted(arrays):
        info = archive.getinfo(f"{array}.npy")
        digest.update(f"{array} {info.file_size} {info.CRC:08x}\n".encode())
    return digest.hexdigest()


def _counted_classes(source: Path, labels: Mapping[str, NDArray[Any]]) -> int:
    """The classes of the training labels, which count from 0 and leave none out."""
    key = "train_true_labels" if "train_true_labels" in labels else "train_labels"
    found = np.unique(labels[key])
    if len(found) and found[0] >= 0 and len(found) <= found[-1]:
        lacking = int(np.setdiff1d(np.arange(len(found)), found)[0])
        raise DataError(
            f"{source}: {key} hold no class {lacking}, but class {found[-1]}: classes count "
            "from 0. Number them so, or write class_names, which may name a class without images."
        )
    return 1 + int(found[-1]) if len(found) else 0


def _header(archive: zipfile.ZipFile, source: Path, array: str) -> tuple[int, ...]:
    """The shape of an array. Raises DataError where it is of another type than it must be."""
    try:
        with archive.open(f"{array}.npy") as file:
            version = np.lib.format.read_magic(file)
            reader = (
                np.lib.format.read_array_header_1_0
                if version == (1, 0)
                else np.lib.format.read_array_header_2_0
            )
            shape, _, dtype = reader(file)
    except DAMAGE as error:
        raise DataError(f"{source}: {array} cannot be read ({error}).") from None
    wanted, kinds = "integers", "iu"
    if array == "class_names":
        wanted, kinds = "texts", "U"
    elif array.endswith("_images"):
        wanted, kinds = "uint8", "u"
    if dtype.kind not in kinds or (wanted == "uint8" and dtype != np.uint8):
        pickled = ", which is pickled and never opened" if dtype.hasobject else ""
        raise DataError(f"{source}: {array} is of type {dtype}{pickled}; it must hold {wanted}.")
    return shape


def _array(archive: zipfile.ZipFile, source: Path, array: str) -> NDArray[Any]:
    _header(archive, source, array)
    try:
        with archive.open(f"{array}.npy") as file:
            return np.lib.format.read_array(file, allow_pickle=False)
    except DAMAGE as error:
        raise DataError(f"{source}: {array} cannot be read ({error}).") from None


def _class_names(archive: zipfile.ZipFile, source: Path) -> tuple[str, ...]:
    found = _array(archive, source, "class_names")
    names = tuple(str(name) for name in found.reshape(-1))
    if found.ndim != 1 or len(set(names)) < len(names):
        raise DataError(f"{source}: class_names must be one row of names, each of them once.")
    return names


def _as_channels_first(
    source: Path, array: str, shape: tuple[int, ...]
) -> tuple[int, int, int, int]:
    """[N, C, H, W] of images [N, H, W], [N, C, H, W] or [N, H, W, C]; they must be square."""
    match shape:
        case (n, height, width) if height == width:
            return n, 1, height, width
        case (n, channels, height, width) if height == width and channels <= MOST_CHANNELS:
            return n, channels, height, width
        case (n, height, width, channels) if height == width and channels <= MOST_CHANNELS:
            return n, channels, height, width
    raise DataError(
        f"{source}: {array} has the shape {list(shape)}; images are square, [N, H, W], "
        f"[N, C, H, W] or [N, H, W, C] with at most {MOST_CHANNELS} channels."
    )


def _check(
    source: Path,
    shapes: Mapping[str, tuple[int, ...]],
    labels: Mapping[str, NDArray[Any]],
    classes: int,
) -> None:
    """Raises DataError where images and labels do not fit each other."""
    each = _as_channels_first(source, "train_images", shapes["train_images"])[1:]
    for key, shape in shapes.items():
        if key.endswith("_images"):
            found = _as_channels_first(source, key, shape)[1:]
            if found != each:
                raise DataError(
                    f"{source}: {key} are of {list(found)} values an image, train_images of "
                    f"{list(each)}."
                )
            if shape[0] == 0:
                raise DataError(f"{source}: {key} is empty.")
    if classes < 2:
        raise DataError(f"{source}: train_labels hold one class only; there must be two or more.")
    for key, values in labels.items():
        images = f"{key.partition('_')[0]}_images"
        if values.shape != shapes[images][:1]:
            raise DataError(
                f"{source}: {key} has the shape {list(values.shape)}; there must be one label for "
                f"each of the {shapes[images][0]} {images}."
            )
        if values.min() < 0 or values.max() >= classes:
            raise DataError(
                f"{source}: {key} run from {values.min()} to {values.max()}; they must lie in 0 to "
                f"{classes - 1}."
            )


# --- A folder ---


def _folder_survey(name: str, source: Path, image_size: int | None) -> Dataset:
    if image_size is None:
        raise DataError(f"datasets.{name}: a folder of images needs image_size, pixels a side.")
    files, classes = _images(source), tuple(_classes(source))
    _true_labels(source, files["train"], classes)
    return Dataset(
        name, len(classes), (3, image_size, image_size), len(files["train"]),
        len(files["test"]), (), (), None, "the user's own", reader=READER,
        validation=len(files.get("validation", ())), image_size=image_size, class_names=classes,
        content=_content(source, files),
    )  # fmt: skip


def _content(source: Path, files: Mapping[str, list[tuple[Path, int]]]) -> str:
    """One sha256 of all images, under their names in the folder, and of their true labels."""
    digest, listing = hashlib.sha256(), source / TRUE_LABELS
    images = [path for part in files.values() for path, _ in part]
    for path in images + [listing] * listing.exists():
        digest.update(f"{path.relative_to(source).as_posix()} {sha256(path)}\n".encode())
    return digest.hexdigest()


def _classes(source: Path) -> list[str]:
    """The folders in train/, in alphabetical order, as torchvision's ImageFolder has them."""
    return sorted(path.name for path in _seen(source / "train") if path.is_dir())


def _seen(folder: Path) -> list[Path]:
    """What a folder holds, in order; not what editors and operating systems hide there."""
    return sorted(path for path in folder.iterdir() if not path.name.startswith("."))


def _images_in(folder: Path) -> list[Path]:
    """The images in a folder and in those below it, as torchvision finds them."""
    found: list[Path] = []
    for path in _seen(folder) if folder.is_dir() else ():
        if path.is_dir():
            found += _images_in(path)
        elif path.suffix.lower() in SUFFIXES:
            found.append(path)
    return found


def _images(source: Path) -> dict[str, list[tuple[Path, int]]]:
    """The image files of each part with their classes. Raises DataError, naming the folder."""
    for part in ("train", "test"):
        if not (source / part).is_dir():
            raise DataError(
                f"{source} holds no folder {part}: it must hold train/ and test/, and may hold "
                "validation/, each with a folder for every class."
            )
    classes = _classes(source)
    if len(classes) < 2:
        raise DataError(
            f"{source / 'train'} holds {len(classes)} folders; there must be a folder "
            "for each of two classes or more."
        )
    found = {}
    for part in ("train", "test", "validation"):
        if not (source / part).is_dir():
            continue
        folders = (path.name for path in _seen(source / part) if path.is_dir())
        strange = [name for name in folders if name not in classes]
        if strange:
            raise DataError(
                f"{source / part / sorted(strange)[0]} is a class that {source / 'train'} lacks."
            )
        found[part] = [
            (path, number)
            for number, name in enumerate(classes)
            for path in _images_in(source / part / name)
        ]
        there = {number for _, number in found[part]}
        empty = [name for number, name in enumerate(classes) if number not in there]
        if not there or (part == "train" and empty):
            bare = source / part / empty[0] if part == "train" else source / part
            raise DataError(f"{bare} holds no images ({', '.join(sorted(SUFFIXES))}).")
    return found


def _true_labels(
    source: Path, images: Sequence[tuple[Path, int]], classes: Sequence[str]
) -> NDArray[np.int64] | None:
    """Those of the training images, in their order; None where the folder lists none.

    Raises DataError, naming file and line, unless the list is whole.
    """
    for path in _seen(source):
        if path.name != TRUE_LABELS and get_close_matches(path.name.lower(), [TRUE_LABELS], 1, 0.9):
            raise DataError(f"{path}: true labels are listed in {TRUE_LABELS}. Rename it.")
    path = source / TRUE_LABELS
    if not path.exists():
        return None
    labels: dict[str, int] = {}
    numbers = {name: number for number, name in enumerate(classes)}
    names = [image.relative_to(source).as_posix() for image, _ in images]
    known = set(names)
    for line, (image, label) in _rows(path):
        if image not in known:
            close = get_close_matches(image, names, 1)
            meant = f" Did you mean {close[0]}?" if close else " Paths begin with train/."
            raise DataError(f"{path}, line {line}: there is no training image {image!r}.{meant}")
        if image in labels:
            raise DataError(f"{path}, line {line}: {image} stands in it twice.")
        if label not in numbers:
            raise DataError(
                f"{path}, line {line}: there is no class {label!r}. There are: {listed(classes)}."
            )
        labels[image] = numbers[label]
    missing = [name for name in names if name not in labels]
    if missing:
        raise DataError(
            f"{path} lacks {listed(missing)}. It must hold a line for every training image."
        )
    return np.array([labels[name] for name in names], np.int64)


def _rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """The lines of a list of labels with their numbers, but for the first, the columns' names."""
    try:
        with opened(path) as file:
            rows = list(csv.reader(file.read().decode("utf-8-sig").splitlines(), strict=True))
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} cannot be read as a list ({error}).") from None
    if not rows or rows[0] != COLUMNS:
        begins = ",".join(rows[0])[:80] if rows else "nothing"
        raise DataError(f"{path} must begin with the line {','.join(COLUMNS)}, not with {begins}.")
    for line, row in enumerate(rows[1:], start=2):
        if len(row) != len(COLUMNS):
            raise DataError(f"{path}, line {line}: there must be a path and a label, nothing else.")
        yield line, row


def _folder(dataset: Dataset, source: Path) -> Arrays:
    from PIL import Image, UnidentifiedImageError

    arrays: Arrays = {}
    size, parts = dataset.shape[1], _images(source)
    true = _true_labels(source, parts["train"], dataset.class_names)
    if true is not None:
        arrays["train_true_labels"] = true
    for part, files in parts.items():
        images = np.empty((len(files), 3, size, size), np.uint8)
        for row, (path, _) in enumerate(files):
            try:
                with Image.open(path) as image:
                    scaled = image.convert("RGB").resize((size, size), Image.Resampling.BILINEAR)
            except (UnidentifiedImageError, OSError, ValueError, SyntaxError) as error:
                raise DataError(f"{path} cannot be read as an image ({error}).") from None
            images[row] = np.asarray(scaled).transpose(2, 0, 1)
        arrays[f"{part}_images"] = images
        arrays[f"{part}_labels"] = np.array([label for _, label in files], np.int64)
    return arrays
