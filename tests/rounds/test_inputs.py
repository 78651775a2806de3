"""A file that is whole may still be another chain's: a job's inputs are compared with its spec."""

from dataclasses import replace

import pytest
from synthetic import metrics

from sdd.base import layout
from sdd.base.errors import DataError
from sdd.base.files import read_json, write_json
from sdd.base.records import to_dict
from sdd.data import labelling
from sdd.data.settings import LabelsSpec, Noise, Validation
from sdd.rounds.inputs import Inputs
from sdd.study.metrics import TeacherLogitsFacts, write_metrics
from sdd.study.settings import Recipe
from sdd.study.specs import RoundSpec, TeacherLogitsSpec, TeacherSpec

LABELS = LabelsSpec(Noise("symmetric", 0.4), Validation(0.125, "clean"), seed=1)
NAMED = replace(LABELS, dataset="mnist-5k")
RECIPE = Recipe("sgd", 0.05, 1e-4, 128, 2, "multistep", momentum=0.9, milestones=(1,))
SPEC = RoundSpec("student", 0, "lenet-300-100", RECIPE, seed=1, labels=NAMED)


@pytest.fixture
def dataset(data):
    return data / "dataset.json"


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({}, None),
        ({"noise": Noise("symmetric", 0.2)}, "noise"),
        ({"noise": Noise("clean")}, "noise"),
        ({"seed": 2}, "seed"),
        ({"validation": Validation(0.125, "noisy")}, "validation"),
        ({"dataset": None}, "dataset"),
    ],
)
def test_labels_are_those_of_the_spec(dataset, tmp_path, change, named):
    path = tmp_path / "labels.json"
    labelling.make(replace(NAMED, **change, code="any"), dataset, path)
    inputs = Inputs(dataset, path)
    if named is None:
        return inputs.check(SPEC)
    with pytest.raises(DataError, match=rf"labels\.json .*with another {named}\. Delete it"):
        inputs.check(SPEC)


def test_a_data_set_is_the_one_that_was_labelled(dataset, tmp_path):
    path = tmp_path / "labels.json"
    labelling.make(NAMED, dataset, path)
    other = tmp_path / "dataset.json"
    facts = read_json(dataset)
    write_json(other, facts | {"sha256": "another"})
    with pytest.raises(DataError, match="another file of the data set"):
        Inputs(other, path).check(SPEC)
    write_json(other, facts | {"name": "mnist"})
    with pytest.raises(DataError, match="is of the data set mnist, not of mnist-5k"):
        Inputs(other, path).check(SPEC)
    with pytest.raises(DataError, match="is of the data set mnist, not of mnist-5k"):
        labelling.make(NAMED, other, path)


@pytest.mark.parametrize(
    ("change", "which", "named"),
    [
        ({}, "best", None),
        ({"teacher": "c2"}, "best", "another teacher"),
        ({"teacher_sha256": "x"}, "best", "another round of the teacher"),
        ({"labels_sha256": "x"}, "best", "another labels"),
        ({"spec": TeacherLogitsSpec("flip-crop")}, "best", "another augmentation"),
        ({}, "dense", "which is not the dense teacher from c"),
    ],
)
def test_logits_are_the_teachers(dataset, tmp_path, change, which, named):
    labels, teacher, logits = (
        tmp_path / name for name in (layout.LABELS, layout.METRICS, layout.LOGITS)
    )
    made = labelling.make(NAMED, dataset, labels)
    taught = metrics(RoundSpec("c", 3, "lenet-300-100", RECIPE, seed=1))
    write_metrics(teacher, taught)
    facts = TeacherLogitsFacts(
        TeacherLogitsSpec("none"), "c", 3, taught.weights_sha256, made.sha256, (1, 1, 10),
        "float32", 0, "sha",
    )  # fmt: skip
    write_json(logits, to_dict(replace(facts, **change)))
    inputs = Inputs(dataset, labels, None, teacher, logits)
    spec = replace(SPEC, teacher=TeacherSpec("c", which))
    if named is None:
        inputs.check(spec)
        assert inputs.hashes().teacher is None and inputs.hashes().teacher_logits == "sha"
        return
    with pytest.raises(DataError, match=named):
        inputs.check(spec)


def test_a_spec_is_small_and_comes_back():
    assert SPEC.to_dict()["labels"] == {
        "noise": {"kind": "symmetric", "rate": 0.4, "labels": None},
        "validation": {"fraction": 0.125, "labels": "clean"},
        "seed": 1,
        "dataset": "mnist-5k",
    }
    assert RoundSpec.from_dict(SPEC.to_dict()) == SPEC
