"""Teacher selection: validation only, ties to the sparser round, or within chance of the best."""

import numpy as np
import pytest
from synthetic import metrics

from sdd.analysis.selection import Candidate, one_standard_error, select_teacher, standard_error
from sdd.study.methods import SELECTIONS
from sdd.study.metrics import Score
from sdd.study.settings import Recipe
from sdd.study.specs import RoundSpec


def trained(round, validation, test=0.0):
    spec = RoundSpec("c", round, "m", Recipe("sgd", 0.1, 0.0, 1, 1, "constant"), 1)
    return metrics(spec, validation, test=Score(test, 1.0), weights_sha256=f"sha{round}")


def test_best_validation_accuracy_whatever_the_test_accuracy():
    chain = [trained(0, 70.0, 99.0), trained(1, 60.0, 98.0), trained(2, 80.0, 1.0)]
    choice = select_teacher(chain, "best", 500)
    assert (choice.round, choice.validation_accuracy) == (2, 80)
    assert (choice.chain, choice.weights_sha256) == ("c", "sha2")
    assert [candidate.round for candidate in choice.runners_up] == [0, 1]


def test_a_standard_error_is_that_of_so_many_images_guessed_right_or_wrong():
    right = np.random.default_rng(0).binomial(500, 0.7, 20_000) / 5  # percent
    assert standard_error(70, 500) == pytest.approx(right.std(), rel=0.02)
    assert standard_error(70, 500) == pytest.approx(2.05, abs=0.005)
    assert standard_error(100, 500) == 0


@pytest.mark.parametrize("order", [1, -1])
def test_the_sparsest_round_that_is_as_good_as_the_best_by_chance(order):
    # With 500 images 2.05 points: 68.0 is within, 67.9 is not; with 50,000 images only the best is.
    chain = [trained(r, v) for r, v in enumerate([69.0, 70.0, 60.0, 68.0, 67.9, 50.0])][::order]
    choice = select_teacher(chain, "one-standard-error", 500)
    assert (choice.round, choice.validation_accuracy, choice.weights_sha256) == (3, 68.0, "sha3")
    assert choice.reason.startswith("the sparsest round within one standard error")
    assert [runner.round for runner in choice.runners_up] == [1, 0, 4]
    assert select_teacher(chain, "one-standard-error", 50_000).round == 1
    assert select_teacher(chain, "best", 500).round == 1


def test_the_rule_of_one_standard_error_never_takes_a_denser_round_than_the_best():
    rng = np.random.default_rng(1)
    for _ in range(200):
        accuracies = list(rng.integers(200, 450, 30) / 5)
        chain = [trained(r, v) for r, v in enumerate(accuracies)]
        best = select_teacher(chain, "best", 500)
        chosen = one_standard_error(accuracies, 500)
        assert chosen >= best.round
        shortfall = best.validation_accuracy - np.array(accuracies)
        within = np.flatnonzero(shortfall <= standard_error(best.validation_accuracy, 500))
        assert chosen == within.max()


@pytest.mark.parametrize("order", [1, -1])
def test_ties_go_to_the_sparser(order):
    chain = [trained(r, v) for r, v in enumerate([70.0, 80.0, 60.0, 80.0, 79.0])][::order]
    choice = select_teacher(chain, "best", 500)
    assert choice.round == 3
    assert choice.runners_up[0].round == 1


def test_rounds_that_were_not_trained_teach_nobody():
    rounds = [trained(0, 70.0), trained(1, 60.0), trained(2, None)]
    for rule in SELECTIONS:
        assert select_teacher(rounds, rule, 500).round == 0


def test_what_is_stored():
    chain = [trained(r, v) for r, v in enumerate([70.0, 80.0, 60.0, 75.0, 50.0])]
    assert select_teacher(chain, "best", 500).runners_up[0] == Candidate(3, chain[3].sparsity, 75.0)
    stored = select_teacher(chain, "best", 500).to_dict()
    assert list(stored) == [
        "chain", "round", "sparsity", "validation_accuracy", "reason", "weights_sha256",
        "runners_up",
    ]  # fmt: skip
    assert [runner["round"] for runner in stored["runners_up"]] == [3, 0, 2]  # three of four
    assert list(stored["runners_up"][0]) == ["round", "sparsity", "validation_accuracy"]
