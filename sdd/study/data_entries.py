"""The data sets that stand in a study's config: the user's own, and subsets of any."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from sdd.base.errors import StudyError
from sdd.base.files import expanded
from sdd.data.datasets import DATASETS, Dataset
from sdd.study.config import DataEntry


def survey(entries: Mapping[str, DataEntry]) -> dict[str, Dataset]:
    """What planning must know of each; of the user's own, from its file or folder.

    Raises StudyError for an entry that makes no sense, DataError for a file that does not.
    """
    found = {
        name: _dataset(f"datasets.{name[:80]}", name, entry) for name, entry in entries.items()
    }
    titles = [data.title for data in {**DATASETS, **found}.values()]
    for name, data in found.items():
        if titles.count(data.title) > 1:
            raise StudyError(
                f"datasets.{name}: the paths of two data sets would have {data.title} in them. "
                "Take another name or another number of train_images."
            )
    return found


def source(entry: DataEntry) -> str:
    """The path of the user's own file or folder, with ~ and $VARIABLES in it expanded."""
    return expanded(entry.file or entry.folder or "")


def _dataset(key: str, name: str, entry: DataEntry) -> Dataset:
    if entry.file and entry.folder:
        raise StudyError(f"{key}: it has both a file and a folder. Name one of them.")
    if entry.file or entry.folder:
        if name in DATASETS:
            raise StudyError(f"{key}: there is a data set {name} already. Take another name.")
        if entry.file and entry.image_size:
            raise StudyError(f"{key}.image_size: only the images of a folder are scaled.")
        from sdd.data.own import survey  # and with it numpy

        known = survey(name, Path(source(entry)), entry.image_size)
    elif name in DATASETS:
        known = DATASETS[name]
    else:
        raise StudyError(
            f"{key}: it needs a file or a folder, or the name of a known data set: "
            f"{', '.join(DATASETS)}."
        )
    if entry.train_images is None:
        return known
    if entry.train_images > known.train:
        raise StudyError(
            f"{key}.train_images: {entry.train_images:,} is more than the {known.train:,} training "
            f"images that {name} has."
        )
    return replace(known, subset=entry.train_images)
