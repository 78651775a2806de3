"""The network of a round: new, as its chain starts, or read back from the round's files."""

from pathlib import Path
from typing import Any

import torch
from torch import nn

from sdd import checkpoint, models, pruning
from sdd.errors import CheckpointError
from sdd.files import read_json
from sdd.segment import WEIGHTS
from sdd.settings import derive_seed


def build(spec: dict[str, Any], facts: dict[str, Any]) -> nn.Module:
    """The untrained network of a round's `spec`, for images of a data set with these `facts`."""
    channels, size, _ = facts["shape"]
    return models.build(
        spec["model"],
        channels=channels,
        size=size,
        classes=facts["classes"],
        seed=derive_seed(spec["seed"], "initial weights"),
    )


def load(
    metrics_path: Path, facts: dict[str, Any], device: torch.device
) -> tuple[nn.Module, pruning.Masks]:
    """A finished round's network and masks, from its metrics and the weights beside them."""
    metrics = read_json(metrics_path)
    state, masks = checkpoint.load(metrics_path.with_name(WEIGHTS), metrics["weights_sha256"])
    model = build(metrics["spec"], facts)
    try:
        model.load_state_dict({name: torch.from_numpy(value) for name, value in state.items()})
    except RuntimeError as error:
        raise CheckpointError(f"{metrics_path}: the weights do not fit: {error}") from None
    placed = {name: torch.from_numpy(mask).to(device) for name, mask in masks.items()}
    return place(model, metrics["spec"], device), placed


def place(model: nn.Module, spec: dict[str, Any], device: torch.device) -> nn.Module:
    """Moves `model` to the device, in the layout of the spec's recipe."""
    last = spec["recipe"]["channels_last"]
    return model.to(device, memory_format=torch.channels_last if last else torch.preserve_format)
