"""A chain's labels: held out before the noise, exact, and checked when read."""

import dataclasses
import os

import numpy as np
import pytest
from patience import impatient
from safetensors.numpy import load_file, save_file

from sdd.base.errors import DataError
from sdd.base.files import sha256, write_json
from sdd.base.records import to_dict
from sdd.data import labelling
from sdd.data.facts import read_facts, read_label_facts
from sdd.data.labels import read_labels
from sdd.data.settings import LabelsSpec, Noise, Validation


@pytest.fixture
def dataset(data):
    return data / "dataset.json"


def make(dataset, folder, rate=0.4, seed=1, validation="clean", kind="symmetric", labels=None):
    spec = LabelsSpec(Noise(kind, rate, labels), Validation(0.125, validation), seed)
    facts = labelling.make(spec, dataset, folder / "labels.json")
    return facts, read_labels(folder / "labels.json")


def test_sizes_rate_and_true_labels(dataset, tmp_path):
    facts, made = make(dataset, tmp_path)
    wrong = made.train_labels != made.train_true_labels
    assert (len(made.train_index), len(made.validation_index)) == (3500, 500)
    assert wrong.sum() == 1400 and facts.realised_rate == 0.4
    assert not set(made.train_index) & set(made.validation_index)
    assert np.bincount(made.validation_labels).tolist() == [50] * 10
    assert facts == read_label_facts(tmp_path / "labels.json")
    assert facts.dataset_sha256 == read_facts(dataset).sha256


def test_no_noise_is_no_noise(dataset, tmp_path):
    facts, made = make(dataset, tmp_path, rate=0.0, kind="clean")
    assert facts.realised_rate == 0
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


def test_human_labels_stay_with_their_images(dataset, tmp_path):
    arrays = load_file(dataset.with_name("data.safetensors"))
    human = np.random.default_rng(0).integers(10, size=4000)
    data = tmp_path / "data.safetensors"
    save_file(arrays | {"human_worse": human}, data)
    facts = dataclasses.replace(read_facts(dataset), bytes=data.stat().st_size, sha256=sha256(data))
    write_json(tmp_path / "dataset.json", to_dict(facts))
    facts, made = make(
        tmp_path / "dataset.json", tmp_path, 0.0, validation="noisy", kind="human", labels="worse"
    )
    assert np.array_equal(made.train_labels, human[made.train_index])
    assert np.array_equal(made.validation_labels, human[made.validation_index])
    assert np.array_equal(made.train_true_labels, arrays["train_labels"][made.train_index])
    assert facts.realised_rate == np.mean(made.train_labels != made.train_true_labels) > 0.8


@pytest.mark.parametrize("damage", ["truncated", "altered", "missing", "a folder", "a FIFO"])
def test_a_damaged_file_is_named_with_its_repair(dataset, tmp_path, damage):
    make(dataset, tmp_path)
    path = tmp_path / "labels.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.unlink()
    if damage in ("truncated", "altered"):
        path.write_bytes(content[:-8] if damage == "truncated" else content)
    elif damage != "missing":
        (os.mkdir if damage == "a folder" else os.mkfifo)(path)
    message = r"labels.safetensors.*Delete .*labels.json"
    with impatient(), pytest.raises(DataError, match=message):
        read_labels(tmp_path / "labels.json")
