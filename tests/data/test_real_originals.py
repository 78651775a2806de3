"""The real files, where SDD_DATA names a folder that holds them in torchvision's layout, packed or
not, and CIFAR-N's .pt beside them. What is not there is skipped."""

import gzip
import hashlib
import os
import pickle
import tarfile
from pathlib import Path

import numpy as np
import pytest

from sdd.data import preparation
from sdd.data.arrays import read_dataset
from sdd.data.datasets import DATASETS
from sdd.data.noise_maps import SUPER_CLASSES
from sdd.data.originals import PUBLISHED, import_torchvision
from sdd.data.settings import DatasetSpec

REAL = Path(os.environ.get("SDD_DATA") or "no-such-folder")


def content(name: str, file: str) -> bytes:
    """Of torchvision's data set of that name; read without the code that is tested."""
    published = PUBLISHED[name]
    path = REAL / published.folder / file
    if path.exists():
        return path.read_bytes()
    if (packed := path.with_name(f"{file}.gz")).exists():
        return gzip.decompress(packed.read_bytes())
    if published.archive and (REAL / published.archive).exists():
        with tarfile.open(REAL / published.archive) as archive:
            return archive.extractfile(f"{published.folder}/{file}").read()
    pytest.skip(f"set SDD_DATA to a folder that holds {published.folder}/{file}")


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    """A function that prepares a data set once, and returns its facts and arrays."""
    made = {}

    def prepare(name: str):
        if name not in made:
            dataset = DATASETS[name]
            content(dataset.torchvision, next(iter(PUBLISHED[dataset.torchvision].train)))
            if dataset.human and not (REAL / dataset.human.file).exists():
                pytest.skip(f"set SDD_DATA to a folder that holds {dataset.human.file}")
            output = tmp_path_factory.mktemp(name) / "dataset.json"
            facts = preparation.prepare(DatasetSpec(name), REAL, output)
            made[name] = facts, read_dataset(output)
        return made[name]

    return prepare


@pytest.mark.parametrize(
    ("name", "file", "sha256"),
    [
        (name, file, sha256)
        for name, published in PUBLISHED.items()
        for file, sha256 in (published.train | published.test).items()
    ],
)
def test_published_checksums(name, file, sha256):
    found = content(name, file)
    assert hashlib.sha256(found).hexdigest() == sha256
    if PUBLISHED[name].archive:  # torchvision knows a checksum of the unpacked file too
        cls = getattr(import_torchvision().datasets, name)
        assert [file, hashlib.md5(found).hexdigest()] in cls.train_list + cls.test_list


@pytest.mark.parametrize(
    ("name", "images", "test", "rates"),
    [
        ("mnist", 60_000, 10_000, {}),
        ("fashion-mnist", 60_000, 10_000, {}),
        ("cifar10", 50_000, 10_000, {}),
        ("cifar100", 50_000, 10_000, {}),
        (
            "cifar10n", 50_000, 10_000,
            {"aggre": 0.0901, "worse": 0.40208, "random1": 0.17234, "random2": 0.18122,
             "random3": 0.1764},
        ),
        ("cifar100n", 50_000, 10_000, {"noisy": 0.402}),
    ],
)  # fmt: skip
def test_real_data(name, images, test, rates, real):
    facts, arrays = real(name)
    assert arrays["train_images"].shape == (images, *DATASETS[name].shape)
    assert arrays["test_images"].shape == (test, *DATASETS[name].shape)
    assert facts.human_noise_rates == pytest.approx(rates)
    if name != "mnist":
        assert len(set(np.bincount(arrays["train_labels"]))) == 1
    if name in ("mnist", "fashion-mnist"):
        # The constants that they are normalised with are those of their training images.
        pixels = arrays["train_images"] / np.float32(255)
        assert pixels.mean(dtype=float) == pytest.approx(facts.mean[0], abs=1e-4)
        assert pixels.std(dtype=float) == pytest.approx(facts.std[0], abs=1e-4)


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist", "cifar10", "cifar100"])
@pytest.mark.parametrize("part", ["train", "test"])
def test_torchvision_reads_the_same(name, part, real):
    cls = getattr(import_torchvision().datasets, DATASETS[name].torchvision)
    _, arrays = real(name)
    try:
        reference = cls(REAL, train=part == "train", download=False)
    except RuntimeError as error:  # it reads unpacked files only
        pytest.skip(str(error))
    images = np.asarray(reference.data).reshape(len(reference), *DATASETS[name].shape[1:], -1)
    assert np.array_equal(arrays[f"{part}_images"], images.transpose(0, 3, 1, 2))
    assert np.array_equal(arrays[f"{part}_labels"], np.asarray(reference.targets))


def test_real_images_stand_upright_in_their_colours(real):
    _, arrays = real("cifar10")
    # Sky: the upper rows of airplanes and ships are bluer than they are red; grass is below.
    ships = arrays["train_images"][arrays["train_labels"] == 8].astype(float)
    assert ships[:, 2, :8].mean() > ships[:, 0, :8].mean()
    assert ships[:, :, :8].mean() > ships[:, :, -8:].mean()


def test_real_super_classes():
    entry = pickle.loads(content("CIFAR100", "train"), encoding="latin1")
    coarse = dict(zip(entry["fine_labels"], entry["coarse_labels"], strict=True))
    members = [[f for f in range(100) if coarse[f] == c] for c in range(20)]
    assert [list(m) for m in SUPER_CLASSES] == members
