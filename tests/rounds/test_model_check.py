"""What is said of a model before any training, and of which models it is asked."""

import pytest

from sdd.base.errors import StudyError
from sdd.base.files import read_record
from sdd.report.catalogue import collect_spec
from sdd.rounds.model_check import check
from sdd.study import validation
from sdd.study.metrics import ModelFacts
from sdd.study.study import Study


def study(config, *keep) -> Study:
    config["pruning"]["keep"] = list(keep)
    return Study.of(validation.validate(config))


def test_a_model_is_checked_where_something_can_be_wrong_with_it(config):
    for keep in ((), ("first",), ("first", "last")):
        assert not study(config, *keep).checked_models
    named = study(config, "first", "fc2")
    (place,) = named.checked_models
    assert place == "mnist-5k/lenet-300-100"
    spec = named.model_spec(place)
    assert (spec.keep, spec.shape, spec.classes) == (("first", "fc2"), (1, 28, 28), 10)
    # Neither a training nor what is collected depends on the check.
    assert "shape" not in str(collect_spec(named).to_dict())
    assert all(chain.spec(0) == study(config).chains[path].spec(0)
               for path, chain in named.chains.items())  # fmt: skip


def test_its_layers_are_those_that_can_be_kept(config, tmp_path):
    named = study(config, "fc2")
    output = tmp_path / "model.json"
    facts = check(named.model_spec("mnist-5k/lenet-300-100"), output)
    assert facts.layers == {"fc1": 235_200, "fc2": 30_000, "fc3": 1000}
    assert facts.parameters == 266_610
    assert read_record(output, ModelFacts) == facts


def test_a_layer_that_is_not_there_is_refused_with_those_that_are(config, tmp_path):
    named = study(config, "last", "fc9")
    with pytest.raises(StudyError, match=r"keep: there is no layer 'fc9'.*first, last, fc1, fc2"):
        check(named.model_spec("mnist-5k/lenet-300-100"), tmp_path / "model.json")
    assert not list(tmp_path.iterdir())
