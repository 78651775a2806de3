"""A made-up data set with the true one's shape and size, and made-up labels, for calibration.

It is read and hashed as the true one is; images are made of a pattern for each class and noise, and
two in five labels are wrong, so that a network learns and memorises.
"""

from collections.abc import Sequence
from pathlib import Path

from sdd.base import layout
from sdd.base.files import sha256, write_json
from sdd.base.records import to_dict
from sdd.data.datasets import Dataset
from sdd.data.facts import DatasetFacts
from sdd.data.settings import LabelsSpec, Noise, Validation

FEW = 32  # images to test and to validate on
WRONG = 0.4  # of the labels


def make_dataset(folder: Path, known: Dataset) -> Path:
    """The training images of `known` in number and shape, few test images; its facts' path."""
    import numpy as np
    from safetensors.numpy import save_file

    rng = np.random.default_rng(0)
    patterns = rng.integers(0, 128, (known.classes, *known.shape), np.uint8)
    arrays = {}
    for part, count in (("train", known.train), ("test", FEW)):
        arrays[f"{part}_labels"] = np.arange(count) % known.classes
        images = rng.integers(0, 128, (count, *known.shape), np.uint8)
        images += patterns[arrays[f"{part}_labels"]]
        arrays[f"{part}_images"] = images
    path = folder / layout.DATASET
    data = layout.data_of(path)
    save_file(arrays, data)
    facts = DatasetFacts(
        name=known.name,
        source="made up",
        classes=known.classes,
        shape=known.shape,
        train=known.train,
        test=FEW,
        mean=(0.5,) * known.shape[0],
        std=(0.2,) * known.shape[0],
        human_noise_rates={},
        bytes=data.stat().st_size,
        sha256=sha256(data),
    )
    write_json(path, to_dict(facts))
    return path


def make_labels(folder: Path, train: Sequence[int], classes: int) -> Path:
    """Labels of `train`, two in five of them drawn by chance; a few of them validate."""
    import numpy as np

    from sdd.data.labels import ChainLabels, write_labels

    rng = np.random.default_rng(0)
    index = np.array(train)
    true = index % classes
    noisy = np.where(rng.random(len(true)) < WRONG, rng.integers(0, classes, len(true)), true)
    few = slice(0, FEW)
    path = folder / layout.LABELS
    spec = LabelsSpec(Noise("symmetric-all", WRONG), Validation(), seed=0)
    made = ChainLabels(index, noisy, true, index[few], true[few])
    write_labels(path, made, spec, realised_rate=WRONG, dataset_sha256="")
    return path
