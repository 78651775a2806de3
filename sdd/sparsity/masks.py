"""Masks: which weights are kept. All convolution and linear weights may be pruned, nothing else.

Biases, norms, position embeddings and class tokens are never pruned. Exactly
round(fraction * remaining) weights go, those with the lowest scores first; among equal scores the
one that comes first in the model goes first.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from sdd.study.settings import Pruning

Masks = dict[str, Tensor]
Scores = dict[str, Tensor]  # of the weights, by a criterion


def prunable(model: nn.Module) -> dict[str, nn.Parameter]:
    """The weights that pruning may take, by name, in the model's order."""
    return {
        f"{name}.weight": module.weight
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear | nn.Conv2d)
    }


def dense_masks(model: nn.Module) -> Masks:
    """Masks that keep everything: boolean, true where a weight is kept."""
    return {name: torch.ones_like(w, dtype=torch.bool) for name, w in prunable(model).items()}


def prune(scores: Scores, masks: Masks, pruning: Pruning) -> Masks:
    """The masks of the next round; `masks` stay as they are."""
    if pruning.scope == "layer":
        return {
            name: _prune({name: scores[name]}, {name: mask}, pruning.fraction)[name]
            for name, mask in masks.items()
        }
    return _prune(scores, masks, pruning.fraction)


def _prune(scores: Scores, masks: Masks, fraction: float) -> Masks:
    kept = torch.cat([mask.flatten() for mask in masks.values()]).nonzero().squeeze(1)
    ranked = torch.cat([scores[name].flatten() for name in masks])[kept]
    count = round(fraction * len(kept))
    pruned = kept[torch.sort(ranked, stable=True).indices[:count]]
    flat = torch.cat([mask.flatten() for mask in masks.values()])
    flat[pruned] = False
    parts = flat.split([mask.numel() for mask in masks.values()])
    return {
        name: part.view_as(mask) for (name, mask), part in zip(masks.items(), parts, strict=True)
    }


def apply(weights: Mapping[str, Tensor], masks: Masks) -> None:
    """Sets the pruned weights to zero, in place."""
    with torch.no_grad():
        for name, mask in masks.items():
            weights[name].masked_fill_(~mask, 0)


def counts(masks: Masks) -> tuple[int, int]:
    """How many weights are kept, and how many there were."""
    return sum(int(m.sum()) for m in masks.values()), sum(m.numel() for m in masks.values())
