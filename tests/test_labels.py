"""A chain's labels: held out before the noise, exact, and checked when read."""

import numpy as np
import pytest

from sdd import labelling, labels, preparation
from sdd.errors import DataError
from sdd.files import read_json


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mnist-5k")
    preparation.prepare("mnist-5k", folder)
    return folder


def make(dataset, folder, rate=0.4, seed=1, validation="clean", kind="symmetric"):
    spec = {
        "noise": {"kind": kind, "rate": rate, "labels": None},
        "validation": {"fraction": 0.125, "labels": validation},
        "seed": seed,
    }
    facts = labelling.make(spec, dataset, folder / "labels.json")
    return facts, labels.load(folder / "labels.json")


def test_sizes_rate_and_true_labels(dataset, tmp_path):
    facts, made = make(dataset, tmp_path)
    wrong = made.train_labels != made.train_true_labels
    assert (len(made.train_index), len(made.validation_index)) == (3500, 500)
    assert wrong.sum() == 1400 and facts["realised_rate"] == 0.4
    assert not set(made.train_index) & set(made.validation_index)
    assert np.bincount(made.validation_labels).tolist() == [50] * 10
    assert facts == read_json(tmp_path / "labels.json")


def test_no_noise_is_no_noise(dataset, tmp_path):
    facts, made = make(dataset, tmp_path, rate=0.0, kind="clean")
    assert facts["realised_rate"] == 0
    assert np.array_equal(made.train_labels, made.train_true_labels)


def test_seeds_differ_in_noise_alone(dataset, tmp_path):
    one, again, two = (make(dataset, tmp_path / str(i), seed=s)[1] for i, s in enumerate([1, 1, 2]))
    assert all(np.array_equal(vars(one)[key], vars(again)[key]) for key in vars(one))
    assert np.array_equal(one.train_index, two.train_index)
    assert np.array_equal(one.validation_index, two.validation_index)
    assert not np.array_equal(one.train_labels, two.train_labels)


def test_validation_labels_are_clean_or_noisy_by_setting(dataset, tmp_path):
    clean = make(dataset, tmp_path / "clean")[1]
    noisy = make(dataset, tmp_path / "noisy", validation="noisy")[1]
    assert (clean.validation_labels != noisy.validation_labels).sum() == 200
    assert np.array_equal(clean.train_labels, noisy.train_labels)


@pytest.mark.parametrize("damage", ["truncated", "altered", "missing"])
def test_a_damaged_file_is_named_with_its_repair(dataset, tmp_path, damage):
    make(dataset, tmp_path)
    path = tmp_path / "labels.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(data[:-8] if damage == "truncated" else data)
    with pytest.raises(DataError, match=r"labels.safetensors.*Delete .*labels.json"):
        labels.load(tmp_path / "labels.json")
