"""Teacher selection: validation only, ties to the sparser round."""

import pytest

from sdd.selection import select_teacher


def metrics(round, validation, test=0.0):
    return {
        "round": round,
        "ended": None,
        "sparsity": 100 * (1 - 0.8**round),
        "validation": {"accuracy": validation},
        "test": {"accuracy": test},
        "spec": {"chain": "c"},
        "weights_sha256": f"sha{round}",
    }


def test_best_validation_accuracy_whatever_the_test_accuracy():
    chain = [metrics(0, 70, 99), metrics(1, 60, 98), metrics(2, 80, 1)]
    choice = select_teacher(chain)
    assert (choice["round"], choice["validation_accuracy"]) == (2, 80)
    assert (choice["chain"], choice["weights_sha256"]) == ("c", "sha2")
    assert [r["round"] for r in choice["runners_up"]] == [0, 1]


@pytest.mark.parametrize("order", [1, -1])
def test_ties_go_to_the_sparser(order):
    chain = [metrics(r, v) for r, v in enumerate([70, 80, 60, 80, 79])][::order]
    choice = select_teacher(chain)
    assert choice["round"] == 3
    assert choice["runners_up"][0]["round"] == 1


def test_rounds_that_were_not_trained_teach_nobody():
    late = metrics(2, None) | {"ended": 1}
    assert select_teacher([metrics(0, 70), metrics(1, 60), late])["round"] == 0
