"""Masks: which weights are kept. All convolution and linear weights may be pruned, nothing else.

Biases, norms, position embeddings and class tokens are never pruned. Exactly
round(fraction * remaining) weights go, those with the lowest scores first; among equal scores the
one that comes first in the model goes first. Layers that a study keeps count among the remaining
weights and lose none, so that the others lose more, as long as they have any.
"""

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

from sdd.base.errors import StudyError
from sdd.base.names import listed
from sdd.study.settings import PLACES, Pruning

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


def prune(scores: Scores, masks: Masks, pruning: Pruning, times: int = 1) -> Masks:
    """The masks of the next round, or of so many `times` later; `masks` stay as they are.

    Raises StudyError for a layer in `pruning.keep` that is not there.
    """
    spared = kept_whole(masks, pruning.keep)
    if pruning.scope == "layer":
        return {
            name: mask
            if name in spared
            else _prune(scores, {name: mask}, spared, pruning.fraction, times)[name]
            for name, mask in masks.items()
        }
    return _prune(scores, masks, spared, pruning.fraction, times)


def kept_whole(names: Iterable[str], keep: tuple[str, ...]) -> set[str]:
    """The weights that are never pruned, of these `names`, all that could be, in their order.

    Raises StudyError for a layer in `keep` that is not there.
    """
    layers = [name.removesuffix(".weight") for name in names]
    places = dict(zip(PLACES, (layers[0], layers[-1]), strict=True))
    spared = {places.get(name, name) for name in keep}
    if unknown := sorted(spared - set(layers)):
        raise StudyError(
            f"pruning.keep: there is no layer {unknown[0]!r} that could be pruned. There are: "
            f"{', '.join(PLACES)}, {listed(layers)}."
        )
    return {f"{layer}.weight" for layer in spared}


def _prune(scores: Scores, masks: Masks, spared: set[str], fraction: float, times: int) -> Masks:
    flat = torch.cat([mask.flatten() for mask in masks.values()])
    free = flat.clone()
    if spared:
        free &= torch.cat([torch.full_like(m, n not in spared).flatten() for n, m in masks.items()])
    candidates = free.nonzero().squeeze(1)
    ranked = torch.cat([scores[name].flatten() for name in masks])[candidates]
    before = left = int(flat.sum())
    for _ in range(times):
        left -= round(fraction * left)
    pruned = candidates[torch.sort(ranked, stable=True).indices[: before - left]]
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


class PrunedWeights:
    """The weights of `model` of which `masks` prune a part: zeros, which training must not move.

    With no gradient neither momentum nor decay moves a weight that is zero.
    """

    def __init__(self, model: nn.Module, masks: Masks) -> None:
        parameters = dict(model.named_parameters())
        names = [name for name, mask in masks.items() if not mask.all()]
        self._weights = [parameters[name] for name in names]
        # As numbers: a product with booleans is converted in every step, and takes twice as long.
        # And in the layout of the weights, which their gradients share: any other is a walk in
        # strides, and on a GPU a kernel for each weight instead of one for all.
        self._kept = [torch.empty_like(parameters[name]).copy_(masks[name]) for name in names]

    def clear_gradients(self) -> None:
        """Sets their gradients to zero, in place."""
        if self._weights:
            torch._foreach_mul_([weight.grad for weight in self._weights], self._kept)

    def moved(self) -> bool:
        """Whether one of them is no longer zero."""
        pairs = zip(self._weights, self._kept, strict=True)
        return any(bool(weight[kept == 0].any()) for weight, kept in pairs)


def counts(masks: Masks) -> tuple[int, int]:
    """How many weights are kept, and how many there were."""
    return sum(int(m.sum()) for m in masks.values()), sum(m.numel() for m in masks.values())
