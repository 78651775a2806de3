"""The network of a round: new, as its chain starts, or read back from the round's files."""

from pathlib import Path

import torch
from torch import nn

from sdd.base import layout
from sdd.base.errors import CheckpointError
from sdd.base.names import load
from sdd.base.seeds import derive_seed
from sdd.data.facts import DatasetFacts
from sdd.models.build import build, seeded
from sdd.sparsity.checkpoint import read_checkpoint
from sdd.sparsity.masks import Masks
from sdd.study.methods import INITIALISATIONS
from sdd.study.metrics import read_metrics
from sdd.study.settings import Recipe
from sdd.study.specs import RoundSpec


def new_network(spec: RoundSpec, facts: DatasetFacts, *draw: str | int) -> nn.Module:
    """What a chain starts from: the untrained network, its weights drawn as its recipe says.

    `draw` tells one drawing of the same chain from another.
    """
    model = _built(spec, facts, *draw)
    name = spec.recipe.initialisation
    with seeded(derive_seed(spec.seed, "initial weights", *draw, name)):
        load(INITIALISATIONS[name])(model)
    return model


def _built(spec: RoundSpec, facts: DatasetFacts, *draw: str | int) -> nn.Module:
    """The network of a round's `spec`, for images of a data set with these `facts`."""
    channels, size, _ = facts.shape
    return build(
        spec.model,
        channels=channels,
        size=size,
        classes=facts.classes,
        seed=derive_seed(spec.seed, "initial weights", *draw),
        own=spec.build,
    )


def read_network(path: Path, facts: DatasetFacts, device: torch.device) -> tuple[nn.Module, Masks]:
    """A finished round's network and masks, from its metrics at `path` and the weights beside."""
    metrics = read_metrics(path)
    state, masks = read_checkpoint(layout.data_of(path), metrics.weights_sha256)
    model = _built(metrics.spec, facts)
    try:
        model.load_state_dict({name: torch.from_numpy(value) for name, value in state.items()})
    except RuntimeError as error:
        raise CheckpointError(f"{path}: the weights do not fit: {error}") from None
    placed = {name: torch.from_numpy(mask).to(device) for name, mask in masks.items()}
    return place_network(model, metrics.spec.recipe, device), placed


def place_network(model: nn.Module, recipe: Recipe, device: torch.device) -> nn.Module:
    """Moves `model` to the device, in the layout of the recipe."""
    last = recipe.channels_last
    return model.to(device, memory_format=torch.channels_last if last else torch.preserve_format)
