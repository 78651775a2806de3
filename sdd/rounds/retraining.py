"""What a round starts from, once its weights are pruned: each retraining is a function.

It gets the model as the round before left it, not pruned yet, and the round's spec, and sets the
weights that the training starts from, in place; those that the masks prune are zeroed afterwards.
Retrainings are named in `sdd.study.methods`.
"""

from collections.abc import Callable

from torch import nn

from sdd.study.specs import RoundSpec

Retraining = Callable[[nn.Module, RoundSpec], None]


def learning_rate_rewinding(model: nn.Module, spec: RoundSpec) -> None:
    """Weights are kept; only the schedule starts anew, as it does in every round (the paper's)."""
