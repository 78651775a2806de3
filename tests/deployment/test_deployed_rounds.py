"""Which rounds are deployed: by validation accuracy alone."""

import math
from typing import get_args

import pytest

from sdd.data.settings import LabelsSpec, Noise, Validation
from sdd.deployment.selection import RULED, chosen, select
from sdd.deployment.specs import DeploySpec
from sdd.study.config import Deployed
from sdd.study.settings import EarlyStopping

WHICH = get_args(Deployed)
RULE = EarlyStopping(patience=2, tolerance=1.0)


@pytest.mark.parametrize(
    ("validation", "expected"),
    [
        # Stopped in the valley, after two bad rounds; the second peak is the sparsest good one.
        ([70, 72, 60, 61, 75, 74.5, 50], {"dense": 0, "best": 4, "sparsest": 5, "stopped": 1}),
        ([70, 70], {"dense": 0, "best": 1, "sparsest": 1, "stopped": 1}),
        ([70, 60, 50], {"dense": 0, "best": 0, "sparsest": 0, "stopped": 0}),
        # Exactly the tolerance below is still good; a round that was not trained is nothing.
        ([70, 69, math.nan], {"dense": 0, "best": 0, "sparsest": 1, "stopped": 1}),
    ],
)
def test_by_hand(validation, expected):
    assert {which: select(which, validation, RULE) for which in WHICH} == expected


def test_a_round_that_is_two_of_what_is_asked_for_is_deployed_once():
    labels = LabelsSpec(Noise("symmetric", 0.4), Validation(), 1)
    spec = DeploySpec("mine", "chain", "chain", ("dense", "best", "sparsest"), labels, 1.0, RULE)
    assert chosen(spec, [70, 60, 72, 50]) == {0: ("dense",), 2: ("best", "sparsest")}


def test_which_depend_on_the_rule():
    assert {"dense", "best"} == {*WHICH} - RULED
    assert [select(which, [70, 72], None) for which in ("dense", "best")] == [0, 1]
    for which in RULED:
        with pytest.raises(ValueError, match=f"{which}: it depends on the rule"):
            select(which, [70, 72], None)
