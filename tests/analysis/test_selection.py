"""Teacher selection: validation only, ties to the sparser round."""

import pytest
from synthetic import metrics

from sdd.analysis.selection import Candidate, select_teacher
from sdd.study.metrics import Score
from sdd.study.settings import Recipe
from sdd.study.specs import RoundSpec


def trained(round, validation, test=0.0):
    spec = RoundSpec("c", round, "m", Recipe("sgd", 0.1, 0.0, 1, 1, "constant"), 1)
    return metrics(spec, validation, test=Score(test, 1.0), weights_sha256=f"sha{round}")


def test_best_validation_accuracy_whatever_the_test_accuracy():
    chain = [trained(0, 70.0, 99.0), trained(1, 60.0, 98.0), trained(2, 80.0, 1.0)]
    choice = select_teacher(chain)
    assert (choice.round, choice.validation_accuracy) == (2, 80)
    assert (choice.chain, choice.weights_sha256) == ("c", "sha2")
    assert [candidate.round for candidate in choice.runners_up] == [0, 1]


@pytest.mark.parametrize("order", [1, -1])
def test_ties_go_to_the_sparser(order):
    chain = [trained(r, v) for r, v in enumerate([70.0, 80.0, 60.0, 80.0, 79.0])][::order]
    choice = select_teacher(chain)
    assert choice.round == 3
    assert choice.runners_up[0].round == 1


def test_rounds_that_were_not_trained_teach_nobody():
    assert select_teacher([trained(0, 70.0), trained(1, 60.0), trained(2, None)]).round == 0


def test_what_is_stored():
    chain = [trained(r, v) for r, v in enumerate([70.0, 80.0, 60.0, 75.0, 50.0])]
    assert select_teacher(chain).runners_up[0] == Candidate(3, chain[3].sparsity, 75.0)
    stored = select_teacher(chain).to_dict()
    assert list(stored) == [
        "chain", "round", "sparsity", "validation_accuracy", "reason", "weights_sha256",
        "runners_up",
    ]  # fmt: skip
    assert [runner["round"] for runner in stored["runners_up"]] == [3, 0, 2]  # three of four
    assert list(stored["runners_up"][0]) == ["round", "sparsity", "validation_accuracy"]
