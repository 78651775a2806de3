"""Networks as after a training and pruning: small ones of every kind."""

import pytest
import torch
from torch import nn

from sdd.models.build import build
from sdd.sparsity import masks as sparsity
from sdd.study.settings import Pruning

EACH_MODEL = pytest.mark.parametrize(
    ("name", "channels", "pixels"),
    [
        ("lenet-300-100", 1, 12), ("vgg-2-2", 1, 12), ("vgg-2-3", 3, 16),
        ("vgg-2-2-averaged", 3, 12), ("resnet18-4", 3, 16), ("resnet20-4", 3, 16),
        ("vit-64-2", 3, 8),
    ],
)  # fmt: skip


def network(name, channels, pixels):
    """As after a training: biases and norms are not what they start as."""
    model = build(name, channels=channels, size=pixels, classes=10, seed=1).double()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_var.uniform_(0.5, 2, generator=generator)
                module.running_mean.normal_(0, 0.3, generator=generator)
                module.weight.normal_(0.5, 0.5, generator=generator)  # some are negative
            if getattr(module, "bias", None) is not None:
                module.bias.normal_(0, 0.3, generator=generator)
    return model.eval()


def prune(model, fraction, whole_layers=()):
    weights = sparsity.prunable(model)
    scores = {name: weight.detach().abs() for name, weight in weights.items()}
    masks = sparsity.prune(scores, sparsity.dense_masks(model), Pruning(fraction))
    for name in whole_layers:
        masks[name] = torch.zeros_like(masks[name])
    sparsity.apply(weights, masks)
