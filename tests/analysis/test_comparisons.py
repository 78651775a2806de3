"""Chains as rounds.csv has them, and which weight decay is taken for the best."""

import pandas as pd
import pytest
from synthetic import rounds, tiny

from sdd.analysis.collected import chains
from sdd.analysis.comparisons import optimal_weight_decay
from sdd.study.settings import EarlyStopping

RULE = EarlyStopping(patience=2, tolerance=1.0)


def test_chains_that_no_column_tells_apart_are_refused():
    frame = tiny()
    twin = frame[frame.weight_decay == 0.01].assign(chain="another/seed1")
    with pytest.raises(ValueError, match=r"cannot tell apart.*another/seed1"):
        chains(pd.concat([frame, twin]))


def optimal(*curves):
    """lambda_opt among chains with these validation accuracies and lambda = 1, 2, ..."""
    frame = pd.concat([rounds(c, weight_decay=w) for w, c in enumerate(curves, 1)])
    return optimal_weight_decay(chains(frame), RULE)


def test_lambda_opt():
    valley, flat, better_valley = [70, 60, 70], [72, 72, 60], [75, 65, 75]
    assert optimal(valley, flat, better_valley) == 2  # no valley beats a better model with one
    assert optimal(valley, flat, flat) == 2  # ties go to the smaller lambda
    assert optimal(valley, better_valley, [10, 10, 10]) == 2  # a dead model has no valley either
    assert optimal(flat, valley) == 1


def test_lambda_opt_does_not_look_at_the_test_set():
    frame = tiny()
    before = optimal_weight_decay(chains(frame[frame.teacher == "none"]), RULE)
    shuffled = frame.assign(test_accuracy=frame.test_accuracy.to_numpy()[::-1])
    after = optimal_weight_decay(chains(shuffled[shuffled.teacher == "none"]), RULE)
    assert before == after == 0.01
