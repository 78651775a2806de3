"""Our side: epochs by `sdd.training.loop.train`, on what a round of a chain would train."""

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor, nn

from sdd.sparsity.compaction import compact
from sdd.sparsity.masks import Masks
from sdd.study.settings import Recipe
from sdd.training.loop import State, cross_entropy, train
from sdd.training.samples import Samples
from sdd.training.step import Objective


def one_epoch(recipe: Recipe) -> Recipe:
    return replace(recipe, epochs=1, schedule="constant", milestones=())


def epoch(
    model: nn.Module,
    masks: Masks,
    samples: Samples,
    labels: Tensor,
    recipe: Recipe,
    objective: Objective | None = None,
    keep: Callable[[State], None] | None = None,
) -> Callable[[], None]:
    """One epoch, compacted where a round would be."""
    recipe = one_epoch(recipe)
    small = compact(model, masks, recipe, len(samples))
    model, masks = (small.model, small.masks) if small else (model, masks)
    return masked(model, masks, samples, labels, recipe, objective, keep)


def masked(
    model: nn.Module,
    masks: Masks,
    samples: Samples,
    labels: Tensor,
    recipe: Recipe,
    objective: Objective | None = None,
    keep: Callable[[State], None] | None = None,
) -> Callable[[], None]:
    """One epoch of the model as it is, by torch's own products."""
    recipe = one_epoch(recipe)
    generator = torch.Generator().manual_seed(0)

    def run() -> None:
        train(
            model, masks, samples, labels, labels, recipe, objective or cross_entropy(labels),
            generator=generator, report=lambda _: None, keep=keep,
        )  # fmt: skip

    return run


def train_round(
    model: nn.Module, masks: Masks, samples: Samples, labels: Tensor, recipe: Recipe
) -> None:
    """A whole round in `model`, as `sdd.rounds.round` trains it."""
    small = compact(model, masks, recipe, len(samples))
    trained, trained_masks = (small.model, small.masks) if small else (model, masks)
    train(
        trained, trained_masks, samples, labels, labels, recipe, cross_entropy(labels),
        generator=torch.Generator().manual_seed(1), report=lambda _: None,
    )  # fmt: skip
    if small:
        small.restore(model)
