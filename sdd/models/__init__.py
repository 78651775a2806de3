"""The models of the paper, by name. A new one is a file beside this and a line in `MODELS`."""

import re

import torch
from torch import nn

from sdd.models import lenet, resnet, vgg, vit

# A builder takes (channels, size, classes), then the numbers that <...> stand for in the name.
MODELS = {
    "lenet-300-100": lenet.lenet_300_100,
    "resnet18": resnet.resnet18,
    "resnet18-maxpool": resnet.resnet18_maxpool,
    "vit": vit.vision_transformer,
    "vgg-<gamma>-<delta>": vgg.vgg_like,
}


def build(name: str, *, channels: int, size: int, classes: int, seed: int) -> nn.Module:
    """A new float32 model on the current device: [N, channels, size, size] -> [N, classes] logits.

    The same `seed` gives the same weights, and no global random state moves. Raises ValueError
    for an unknown name, and where an image of `size` x `size` pixels does not fit the model.
    """
    for pattern, builder in MODELS.items():
        if match := re.fullmatch(re.sub("<.*?>", r"([0-9]+)", pattern), name):
            numbers = map(int, match.groups())
            # Not torch.manual_seed: that would also seed every accelerator, which isn't forked.
            with torch.random.fork_rng(devices=[]):
                torch.default_generator.manual_seed(seed)
                return builder(channels, size, classes, *numbers)
    raise ValueError(f"There is no model {name!r}. Known are: {', '.join(MODELS)}.")
