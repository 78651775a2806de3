"""Teachers from outside, as they stand in a config: paths, specs, and what makes no sense."""

import json
from dataclasses import replace

import numpy as np
import pytest
from safetensors.numpy import save_file

from sdd.base.errors import DataError, StudyError
from sdd.base.files import canonical
from sdd.report.catalogue import collect_spec
from sdd.study import outside, validation
from sdd.study.specs import RoundSpec, TeacherLogitsSpec
from sdd.study.study import Demand, Study


@pytest.fixture
def weights(tmp_path):
    return saved(tmp_path / "w.safetensors", 1)


def saved(path, value):
    save_file({"w": np.full(3, value, np.float32)}, path)
    return str(path)


def build(config) -> Study:
    checked = validation.validate(config)
    return Study.of(checked, {}, outside.survey(checked))


def taught(config, *teachers, **more):
    """The embedded study's first experiment, and one student of each teacher."""
    alone = config["experiments"][0]
    students = [
        {**alone, "name": f"student{n}", "teacher": teacher, **more}
        for n, teacher in enumerate(teachers)
    ]
    return config | {"experiments": [alone, *students], "seeds": [1, 2]}


LENET = {"model": "lenet-300-100"}


def test_its_students_have_legible_paths_of_their_own(config, weights, tmp_path):
    other = saved(tmp_path / "other.safetensors", 2)
    study = build(
        taught(
            config, {"weights": weights, **LENET}, {"weights": other, "name": "mine", **LENET},
            {"experiment": "vanilla", "round": "dense"}, alpha=[0.9, 0.5],
        )
    )  # fmt: skip
    usual = "kd-lenet-300-100-{}-wd0.0001"
    assert {c.objective for c in study.chains.values()} == {"ce-wd0.0001"} | {
        usual.format(name) + alpha
        for name in ("outside", "mine", "dense") for alpha in ("", "-alpha0.5")
    }  # fmt: skip
    # It is adopted once, and asked about the images of each noise and seed.
    assert list(study.outside_teachers) == [
        f"mnist-5k/lenet-300-100/{name}" for name in ("outside", "mine")
    ]
    at = "mnist-5k/symmetric-0.4/lenet-300-100"
    assert [path for path in study.teachers if path.endswith("outside")] == [
        f"{at}/{name}/seed{seed}/outside" for name in ("outside", "mine") for seed in (1, 2)
    ]


def specs(study):
    """Everything that tells one job from another."""
    chain = next(c for c in study.chains.values() if c.teacher)
    (place,) = study.outside_teachers
    return [
        canonical(spec.to_dict())
        for spec in (
            study.outside_spec(place), study.teacher_logits_spec(chain.teacher, "none"),
            study.round_spec(chain, 0), study.round_spec(chain, 1), collect_spec(study),
        )
    ]  # fmt: skip


def test_the_content_counts_and_not_the_place(config, weights, tmp_path, monkeypatch):
    before = specs(build(taught(config, {"weights": weights, **LENET})))
    copied = tmp_path / "elsewhere.safetensors"
    copied.write_bytes((tmp_path / "w.safetensors").read_bytes())
    monkeypatch.setenv("PLACE", str(tmp_path))
    moved = build(taught(config, {"weights": "$PLACE/elsewhere.safetensors", **LENET}))
    assert specs(moved) == before and str(tmp_path) not in "".join(before)
    saved(copied, 2)
    after = specs(build(taught(config, {"weights": str(copied), **LENET})))
    assert all(one != other for one, other in zip(before, after, strict=True))


def test_specs_come_back_and_those_of_other_teachers_are_as_they_were(config, weights):
    study = build(
        taught(config, {"weights": weights, **LENET}, {"experiment": "vanilla", "round": "best"})
    )
    for chain in study.chains.values():
        spec = study.round_spec(chain, 1)
        assert RoundSpec.from_dict(json.loads(canonical(spec.to_dict()))) == spec
    (usual,) = (t for t in study.teachers.values() if t.which == "best" and "seed1" in t.path)
    spec = study.teacher_logits_spec(usual, "none")
    assert spec.to_dict()["teacher"] == {"chain": usual.chain.path, "which": "best"}
    assert TeacherLogitsSpec.from_dict(spec.to_dict()) == spec


def test_collecting_gets_to_the_same_chains_without_the_file(config, weights, tmp_path):
    study = build(taught(config, {"weights": weights, **LENET}))
    spec = collect_spec(study)
    (tmp_path / "w.safetensors").unlink()
    read = type(spec).from_dict(json.loads(canonical(spec.to_dict())))
    again = type(study.config).from_dict(read.config)
    found = Study.of(again, read.datasets, outside.settled(again))
    assert found.chains == study.chains


def test_two_teachers_never_share_a_place(config, weights, tmp_path):
    other = {"weights": saved(tmp_path / "other.safetensors", 2), **LENET}
    both = taught(config, {"weights": weights, **LENET}, other)
    with pytest.raises(StudyError, match=r"two different chains would share .*teacher"):
        build(both)
    both["experiments"][2]["noise"] = {"kind": "clean"}  # other paths, but one place
    with pytest.raises(StudyError, match=r"would both be called outside\. .* by teacher\.name"):
        build(both)
    both["experiments"][2]["teacher"] = other | {"name": "other"}
    assert len(build(both).outside_teachers) == 2


def test_a_request_for_its_logits_is_that_of_its_model(config, weights):
    config["cluster"] = {"default": {"minutes": 9, "memory_mb": 900}, "vit": {"minutes": 7}}
    study = build(taught(config, {"weights": weights, "model": "vit"}))
    (path, *_) = study.teachers
    assert study.logits_request(path, "none") == Demand(7, 901)


WRONG = {
    "neither": ({"model": "vit"}, r"\.teacher: it has model\. A teacher is either a round of"),
    "nothing": ({}, r"\.teacher: it has no keys\. A teacher is either"),
    "no round": ({"experiment": "vanilla"}, r"\.teacher: it has experiment\. A teacher is"),
    "both": (
        {"experiment": "vanilla", "round": "best", "weights": "W", "model": "vit"},
        r"\.teacher: it has experiment, model, round, weights\. A teacher is either",
    ),
    "a name of a round": (
        {"weights": "W", **LENET, "name": "best"}, r"\.teacher\.name: best is a round of a chain",
    ),
    "a name for no folder": (
        {"weights": "W", **LENET, "name": "My own"}, r"\.teacher\.name: 'My own' is not allowed",
    ),
    "an unknown model": ({"weights": "W", "model": "vgg16"}, r"\.teacher\.model: 'vgg16' is"),
    "a model that does not fit": (
        {"weights": "W", "model": "vgg-5-6"}, r"\.teacher\.model: on mnist-5k: vgg-5-6: .*28 x 28",
    ),
    "a weight decay": (
        {"weights": "W", **LENET, "weight_decay": 0.1}, r"it has model, weight_decay, weights\.",
    ),
    "a number": ({"weights": 5, **LENET}, r"\.teacher\.weights: 5 is not a text"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_a_teacher_that_makes_no_sense_is_refused_by_its_key(config, weights, case):
    teacher, words = WRONG[case]
    named = {key: weights if value == "W" else value for key, value in teacher.items()}
    with pytest.raises(StudyError, match=rf"experiments\[1\].*{words}"):
        build(taught(config, named))


def test_a_file_that_is_missing_is_named_with_its_key(config):
    with pytest.raises(
        DataError, match=r"experiments\[1\]\.teacher\.weights: a/b\.safet.* no file"
    ):
        build(taught(config, {"weights": "a/b.safetensors", **LENET}))


def test_a_models_function_counts(config, weights, tmp_path, monkeypatch):
    (tmp_path / "own_nets.py").write_text("def one(a, b, c): ...\ndef two(a, b, c): ...\n")
    monkeypatch.syspath_prepend(tmp_path)

    def spec(function):
        models = {"mine": {"build": f"own_nets:{function}"}}
        study = build(taught(config, {"weights": weights, "model": "mine"}) | {"models": models})
        return replace(study.outside_spec("mnist-5k/mine/outside"), code=None)

    assert spec("one") != spec("two")
