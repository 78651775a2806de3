"""A network: new, as its chain starts, or read back from files."""

from pathlib import Path

import torch
from torch import Tensor, nn

from sdd.base import layout
from sdd.base.errors import CheckpointError
from sdd.base.names import load
from sdd.base.seeds import derive_seed
from sdd.data.facts import DatasetFacts
from sdd.models.build import build, seeded
from sdd.rounds.teachers import read_network_facts
from sdd.sparsity.checkpoint import read_checkpoint
from sdd.sparsity.kernel_choice import channels_last
from sdd.sparsity.masks import Masks
from sdd.study.methods import INITIALISATIONS
from sdd.study.settings import Passes, Recipe
from sdd.study.specs import RoundSpec


def new_network(spec: RoundSpec, facts: DatasetFacts, *draw: str | int) -> nn.Module:
    """What a chain starts from: the untrained network, its weights drawn as its recipe says.

    `draw` tells one drawing of the same chain from another.
    """
    model = _built(spec.model, spec.build, spec.seed, facts, *draw)
    name = spec.recipe.initialisation
    with seeded(derive_seed(spec.seed, "initial weights", *draw, name)):
        load(INITIALISATIONS[name])(model)
    return model


def _built(
    name: str, own: str | None, seed: int, facts: DatasetFacts, *draw: str | int
) -> nn.Module:
    """The network of that model, for images of a data set with these `facts`."""
    channels, size, _ = facts.shape
    return build(
        name,
        channels=channels,
        size=size,
        classes=facts.classes,
        seed=derive_seed(seed, "initial weights", *draw),
        own=own,
    )


def read_network(path: Path, facts: DatasetFacts, device: torch.device) -> tuple[nn.Module, Masks]:
    """A network and its masks: of a finished round, from its metrics at `path` and the weights
    beside, or from outside, from the facts on it."""
    known = read_network_facts(path)
    state, masks = read_checkpoint(layout.data_of(path), known.weights_sha256, path.name)
    model = _built(known.model, known.build, known.seed, facts)
    try:
        model.load_state_dict({name: torch.from_numpy(value) for name, value in state.items()})
    except RuntimeError as error:
        raise CheckpointError(f"{path}: the weights do not fit: {error}") from None
    placed = {name: torch.from_numpy(mask).to(device) for name, mask in masks.items()}
    return place_network(model, known.computes, device), placed


def place_network(model: nn.Module, recipe: Recipe | Passes, device: torch.device) -> nn.Module:
    """Moves `model` to the device, in the layout of the recipe.

    What counts the batches of its normalisations stays on the CPU: no kernel reads it, and on a GPU
    each count would launch one, as many in every step as there are normalisations.
    """
    last = channels_last(recipe, device)
    model = model.to(device, memory_format=torch.channels_last if last else torch.preserve_format)
    for layer in model.modules():
        counter = getattr(layer, "num_batches_tracked", None)
        if isinstance(counter, Tensor):
            layer.num_batches_tracked = counter.cpu()
    return model
