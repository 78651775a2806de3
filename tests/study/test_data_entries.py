"""Data sets that stand in a config: the user's own, and subsets of any."""

import json

import numpy as np
import pytest

from sdd.base.errors import DataError, StudyError
from sdd.base.files import canonical
from sdd.report.catalogue import collect_spec
from sdd.study import data_entries, validation
from sdd.study.study import Study


def build(config) -> Study:
    checked = validation.validate(config)
    return Study.of(checked, data_entries.survey(checked.datasets))


@pytest.fixture
def file(tmp_path):
    return saved(tmp_path / "my_data.npz")


def saved(path, train=50, **more):
    rng = np.random.default_rng(0)
    np.savez(
        path,
        train_images=rng.integers(0, 256, (train, 8, 8), np.uint8),
        train_labels=np.arange(train) % 5,
        test_images=rng.integers(0, 256, (20, 8, 8), np.uint8),
        test_labels=np.arange(20) % 5,
        **more,
    )
    return path


def on(config, entries, dataset="my_data", **noise):
    """A config of one experiment on a data set among these entries."""
    noise = noise or {"kind": "given"}
    experiment = {"name": "a", "dataset": dataset, "noise": noise, "model": "lenet-300-100"}
    return config | {"datasets": entries, "experiments": [experiment]}


def test_own_data_give_their_name_shape_and_size_to_chains(config, file):
    study = build(on(config, {"my_data": {"file": str(file)}}))
    (path, chain), *_ = study.chains.items()
    assert path == "my_data/given/lenet-300-100/ce-wd0.0001/seed1"
    assert (chain.data.shape, chain.data.classes) == ((1, 8, 8), 5)
    assert study.images(chain.data) == (44, 6, 20)


def test_own_images_to_validate_on_are_not_held_out(config, tmp_path):
    more = {"validation_images": np.zeros((7, 8, 8), np.uint8), "validation_labels": [0] * 7}
    file = saved(tmp_path / "my_data.npz", **more)
    study = build(on(config, {"my_data": {"file": str(file)}}))
    assert study.images(next(iter(study.chains.values())).data) == (50, 7, 20)


def test_a_subset_shows_in_paths_and_not_in_where_the_data_lie(config, file):
    for name, entry in (
        ("cifar10", {"train_images": 40}),
        ("my_data", {"file": str(file), "train_images": 40}),
    ):
        noise = {"kind": "symmetric", "rate": 0.2}
        study = build(on(config, {name: entry}, name, **noise))
        (path, chain), *_ = study.chains.items()
        assert path.startswith(f"{name}-40/symmetric-0.2/") and chain.dataset == name
        assert study.images(chain.data)[:2] == (35, 5)
        assert study.labels_spec(chain.labels).subset == 40
        assert study.dataset_spec(name).dataset == name


def test_without_a_subset_the_spec_of_labels_names_none(config):
    study = build(config)
    values = study.labels_spec("mnist-5k/symmetric-0.4/seed1").to_dict()
    assert set(values) == {"noise", "validation", "seed", "dataset", "code"}


def specs(study: Study) -> str:
    chain = next(iter(study.chains.values()))
    return canonical(
        [
            study.dataset_spec("my_data").to_dict(), study.labels_spec(chain.labels).to_dict(),
            study.round_spec(chain, 1).to_dict(), collect_spec(study).to_dict(),
        ]
    )  # fmt: skip


def test_the_place_of_a_file_is_in_no_spec_and_its_content_is(config, file, tmp_path):
    before = build(on(config, {"my_data": {"file": str(file)}}))
    moved = file.rename(tmp_path / "another.npz")
    after = build(on(config, {"my_data": {"file": str(moved)}}))
    assert specs(before) == specs(after)
    assert str(tmp_path) not in specs(after)
    saved(moved, train=51)
    assert specs(build(on(config, {"my_data": {"file": str(moved)}}))) != specs(after)


def test_collecting_gets_to_the_same_chains_without_the_file(config, file):
    study = build(on(config, {"my_data": {"file": str(file), "train_images": 40}}))
    spec = collect_spec(study)
    file.unlink()
    read = type(spec).from_dict(json.loads(canonical(spec.to_dict())))
    again = Study.of(type(study.config).from_dict(read.config), read.datasets)
    assert list(again.chains) == list(study.chains)


def test_the_place_may_have_variables_in_it(config, file, tmp_path, monkeypatch):
    monkeypatch.setenv("DATA", str(tmp_path))
    assert build(on(config, {"my_data": {"file": "$DATA/my_data.npz"}})).chains


REFUSED = {
    "neither": ({"my_data": {}}, r"datasets\.my_data: it needs a file or a folder"),
    "both": (
        {"my_data": {"file": "a.npz", "folder": "b"}}, r"datasets\.my_data: .* both a file and a",
    ),
    "a known name": ({"cifar10": {"file": "a.npz"}}, "there is a data set cifar10 already"),
    "a file scaled": (
        {"my_data": {"file": "a.npz", "image_size": 8}}, r"datasets\.my_data\.image_size: only",
    ),
    "another key": ({"my_data": {"path": "a.npz"}}, r"datasets\.my_data: .*'path'.*Keys are: file"),
    "a name for no folder": ({"My data": {"file": "a.npz"}}, r"datasets\.My data: a data set's"),
    "a subset of more": (
        {"mnist": {"train_images": 60001}}, r"datasets\.mnist\.train_images: 60,001 is more than",
    ),
    "no number": ({"mnist": {"train_images": "all"}}, r"datasets\.mnist\.train_images: 'all' is"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_an_entry_that_makes_no_sense_is_refused_by_its_key(config, case):
    entries, words = REFUSED[case]
    with pytest.raises(StudyError, match=f"(?s){words}"):
        build(config | {"datasets": entries})


def test_two_data_sets_at_one_path_are_refused(config, file):
    entries = {"mnist-40": {"file": str(file)}, "mnist": {"train_images": 40}}
    with pytest.raises(StudyError, match=r"datasets\.mnist-40: .* would have mnist-40 in them"):
        build(config | {"datasets": entries})


def test_a_missing_file_is_named(config):
    with pytest.raises(DataError, match=r"some/folder/my_data\.npz is no file"):
        build(on(config, {"my_data": {"file": "some/folder/my_data.npz"}}))


def test_a_data_set_without_an_entry_is_not_known(config, file):
    with pytest.raises(StudyError, match=r"'my_dta' is not known\. Did you mean my_data"):
        build(on(config, {"my_data": {"file": str(file)}}, "my_dta"))


def test_noise_by_classes_that_are_mistaken_needs_a_map(config, file):
    entries = {"my_data": {"file": str(file)}}
    with pytest.raises(StudyError, match=r"asymmetric noise is not known for my_data, only for"):
        build(on(config, entries, kind="asymmetric", rate=0.2))
    for kind in ("symmetric", "symmetric-all", "bernoulli", "pair-flip"):
        assert build(on(config, entries, kind=kind, rate=0.2)).chains
    with pytest.raises(StudyError, match="my_data has no human labels 'worse'"):
        build(on(config, entries, kind="human", labels="worse"))


def test_a_model_that_does_not_fit_own_images_is_refused(config, file):
    changed = on(config, {"my_data": {"file": str(file)}})
    changed["experiments"][0]["model"] = "vgg-3-6"
    changed["recipes"] = changed["recipes"] | {"vgg-3-6": changed["recipes"]["lenet-300-100"]}
    with pytest.raises(StudyError, match=r"on my_data: vgg-3-6.*8 x 8"):
        build(changed)
