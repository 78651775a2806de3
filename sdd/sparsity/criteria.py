"""What ranks weights for pruning: each criterion is a function evidence -> scores.

Scores have the names and shapes of the weights; where two weights compete, the one with the lower
score is pruned first. Criteria are named in `sdd.study.methods`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from sdd.sparsity.masks import Masks, Scores


@dataclass(frozen=True)
class Evidence:
    """What a criterion may look at, and draw from."""

    weights: Mapping[str, Tensor]  # the prunable ones, by name; those pruned already are zero
    masks: Masks
    gradients: Callable[[], Mapping[str, Tensor]]  # of the loss on a batch, taken when asked for
    generator: torch.Generator  # on the CPU; of this chain, this round and nothing else


Criterion = Callable[[Evidence], Scores]


def magnitude(evidence: Evidence) -> Scores:
    """The absolute value (algorithm 1 of the paper, line 4)."""
    return {name: weight.detach().abs() for name, weight in evidence.weights.items()}


def gradient(evidence: Evidence) -> Scores:
    """|w * dL/dw|: what the loss of a batch loses with the weight, to first order.

    He et al. (2022) call it gradient-based pruning. The batch is one of the training images, with
    their noisy labels.
    """
    gradients = evidence.gradients()
    return {
        name: (weight.detach() * gradients[name]).abs() for name, weight in evidence.weights.items()
    }


def at_random(evidence: Evidence) -> Scores:
    """Uniform on [0, 1), drawn for every weight in the model's order, on the CPU."""
    return {
        name: torch.rand(weight.shape, generator=evidence.generator).to(weight.device)
        for name, weight in evidence.weights.items()
    }
