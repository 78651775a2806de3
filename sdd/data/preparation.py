"""From the original files of a data set to one compact file; done once, before everything else."""

from pathlib import Path

import numpy as np

from sdd.base import layout
from sdd.base.errors import DataError
from sdd.base.files import replacing, sha256, write_json
from sdd.base.locks import alone
from sdd.base.names import load
from sdd.base.records import to_dict
from sdd.data.arrays import Arrays
from sdd.data.datasets import DATASETS, Dataset
from sdd.data.facts import DatasetFacts, read_facts
from sdd.data.own import survey
from sdd.data.settings import DatasetSpec

CHUNK = 1024  # images that are counted at a time


def prepare(spec: DatasetSpec, folder: Path | None, output: Path) -> DatasetFacts:
    """Writes the facts of a data set to `output`, with its arrays beside them.

    `folder` already holds the original files (see the data set's reader), or is the user's own data
    set (`sdd.data.own`). Without one they are downloaded to a folder beside `output`, and stay
    there for another time; they may be deleted. Whoever comes first does it: who comes while
    another prepares the same waits, and takes what is there. Raises DataError, with what to do,
    where files are missing, damaged or do not fit together.
    """
    dataset = _dataset(spec, folder)
    with alone(output.with_name(layout.PREPARING)):
        return _prepared(spec, dataset, output) or _prepare(spec, dataset, folder, output)


def _prepared(spec: DatasetSpec, dataset: Dataset, output: Path) -> DatasetFacts | None:
    """The facts of a data set that lies there whole, made by the same code; it is left alone."""
    if spec.code is None:
        return None
    try:
        facts = read_facts(output)
        whole = sha256(layout.data_of(output)) == facts.sha256
    except DataError:
        return None
    made_from = facts.name, facts.content, facts.shape, facts.code
    same = made_from == (dataset.name, dataset.content, dataset.shape, spec.code)
    return facts if whole and same else None


def _prepare(
    spec: DatasetSpec, dataset: Dataset, folder: Path | None, output: Path
) -> DatasetFacts:
    from safetensors.numpy import save_file

    arrays: Arrays = load(dataset.reader)(dataset, output.parent / "download", folder)
    _check(dataset, arrays)

    data = layout.data_of(output)
    output.unlink(missing_ok=True)  # never facts beside data of another time
    with replacing(data) as temporary:
        save_file(arrays, temporary)
    known = dataset.mean and dataset.std
    mean, std = (dataset.mean, dataset.std) if known else _moments(arrays["train_images"])
    facts = DatasetFacts(
        name=dataset.name,
        source=dataset.source,
        classes=dataset.classes,
        shape=dataset.shape,
        train=dataset.train,
        test=dataset.test,
        mean=mean,
        std=std,
        human_noise_rates={
            key.removeprefix("human_"): float(np.mean(labels != arrays["train_labels"]))
            for key, labels in arrays.items()
            if key.startswith("human_")
        },
        bytes=data.stat().st_size,
        sha256=sha256(data),
        truth_known=not spec.own or "train_true_labels" in arrays,
        class_names=dataset.class_names,
        content=dataset.content,
        code=spec.code,
    )
    write_json(output, to_dict(facts))
    return facts


def _dataset(spec: DatasetSpec, folder: Path | None) -> Dataset:
    if spec.own:
        if folder is None:
            raise DataError(f"{spec.dataset}: its file or folder is not named.")
        found = survey(spec.dataset, folder, spec.image_size)
        if spec.content not in (None, found.content):
            raise DataError(
                f"{folder} has changed since this run of snakemake began. Run it again."
            )
        return found
    if spec.dataset not in DATASETS:
        raise DataError(f"There is no data set {spec.dataset!r}. Known are: {', '.join(DATASETS)}.")
    return DATASETS[spec.dataset]


def _moments(images: np.ndarray) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and deviation of each channel, of pixels in 0..1, from how often each value occurs.

    A channel without any contrast is left as it is: its deviation counts as 1.
    """
    values = np.arange(256) / 255
    means, deviations = [], []
    for channel in range(images.shape[1]):
        counts = np.zeros(256, np.int64)
        for start in range(0, len(images), CHUNK):
            pixels = images[start : start + CHUNK, channel].ravel()
            counts += np.bincount(pixels, minlength=256)
        share = counts / counts.sum()
        mean = float(share @ values)
        means.append(mean)
        deviations.append(float(share @ (values - mean) ** 2) ** 0.5 or 1.0)
    return tuple(means), tuple(deviations)


def _check(dataset: Dataset, arrays: Arrays) -> None:
    """Raises DataError unless images and labels are as many and as large as they should be."""
    for part, count in (
        ("train", dataset.train),
        ("test", dataset.test),
        ("validation", dataset.validation),
    ):
        if count and arrays[f"{part}_images"].shape != (count, *dataset.shape):
            raise DataError(
                f"{dataset.name}: {part}_images have the shape {arrays[f'{part}_images'].shape} "
                f"instead of {(count, *dataset.shape)}. The original files are not those of this "
                "data set; replace them."
            )
    for key, labels in arrays.items():
        if key.endswith("_images"):
            continue
        count = {"test_labels": dataset.test, "validation_labels": dataset.validation}.get(
            key, dataset.train
        )
        if labels.shape != (count,) or labels.min() < 0 or labels.max() >= dataset.classes:
            raise DataError(
                f"{dataset.name}: {key} do not fit: there must be {count:,} from 0 to "
                f"{dataset.classes - 1}. The original files are not those of this data set; "
                "replace them."
            )
