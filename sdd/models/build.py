"""Building a model from its name."""

import torch
from torch import nn

from sdd.base.names import load
from sdd.models import names


def build(name: str, *, channels: int, size: int, classes: int, seed: int) -> nn.Module:
    """A new float32 model on the current device: [N, channels, size, size] -> [N, classes] logits.

    The same `seed` gives the same weights, and no global random state moves. Raises StudyError
    for an unknown name, and where an image of `size` x `size` pixels does not fit the model.
    """
    names.check(name, size)
    model, numbers = names.find(name)
    builder = load(model.builder)
    # Not torch.manual_seed: that would also seed every accelerator, which isn't forked.
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return builder(channels, size, classes, *numbers)
