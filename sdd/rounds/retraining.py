"""What a round starts from, once its weights are pruned: each retraining is a function.

It gets the model as the round before left it, not pruned yet, and where it may go back to, and sets
the weights that the training starts from, in place; those that the masks prune are zeroed
afterwards. Retrainings are named in `sdd.study.methods`, in the field's words (Renda et al., 2020).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import Tensor, nn

State = Mapping[str, Tensor]  # a model's weights and buffers, by name


@dataclass(frozen=True)
class Origins:
    """Where a round may go back to; each is made when it is asked for."""

    rewound: Callable[[], State]  # the chain's own weights, at the point that the study rewinds to
    drawn: Callable[[], State]  # first weights of this round's own


Retraining = Callable[[nn.Module, Origins], None]


def learning_rate_rewinding(model: nn.Module, origins: Origins) -> None:
    """Weights are kept; only the schedule starts anew, as it does in every round (the paper's)."""


def weight_rewinding(model: nn.Module, origins: Origins) -> None:
    """Weights go back to what they were, at first or early in the dense training, with all else
    that the model has learned (Frankle & Carbin, 2019; He et al., 2022)."""
    model.load_state_dict(origins.rewound())


def fine_tuning(model: nn.Module, origins: Origins) -> None:
    """Weights are kept; what differs is the recipe: see `sdd.study.settings.FineTuning`."""


def reinitialisation(model: nn.Module, origins: Origins) -> None:
    """Weights are drawn anew in every round: only the masks are left of the round before."""
    model.load_state_dict(origins.drawn())
