"""VGG-like(gamma, delta): the student of the paper's section 5.

delta blocks of two 3x3 convolutions; block i = 0, 1, ... has 2^(gamma + i) channels. The paper
writes "gamma = 32" for the WIDTH of the first block; its model is gamma = 5, delta = 5.

On its images the classifier sees each feature 49 times, and as published, `vgg_like`, it diverges
at its published learning rate. `vgg_like_averaged` has the same parameters and MACs, and trains.
"""

from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d

GRID = 7  # cells a side that the classifier sees of each channel


def vgg_like(channels: int, size: int, classes: int, gamma: int, delta: int) -> nn.Module:
    return _behind_blocks(GridPool(), channels, classes, gamma, delta)


def vgg_like_averaged(channels: int, size: int, classes: int, gamma: int, delta: int) -> nn.Module:
    return _behind_blocks(AveragedGridPool(), channels, classes, gamma, delta)


def _behind_blocks(
    pool: nn.Module, channels: int, classes: int, gamma: int, delta: int
) -> nn.Sequential:
    layers: list[nn.Module] = []
    for block in range(delta):
        width = 2 ** (gamma + block)
        for inputs in (channels, width):
            layers += [nn.Conv2d(inputs, width, 3, padding=1), nn.ReLU(), nn.BatchNorm2d(width)]
        layers += [nn.MaxPool2d(2)]
        channels = width
    classifier = nn.Linear(GRID * GRID * channels, classes)
    return nn.Sequential(*layers, pool, nn.Flatten(), classifier)


class GridPool(nn.Module):
    """Average pooling to GRID x GRID, like nn.AdaptiveAvgPool2d(GRID).

    A 1x1 map (the paper's case) is only repeated, and done as that: the gradient of the general
    operation is not deterministic on CUDA.
    """

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[2:] == (1, 1):
            return x.expand(-1, -1, GRID, GRID)
        return adaptive_avg_pool2d(x, GRID)


class AveragedGridPool(GridPool):
    """GridPool, whose cells the classifier averages instead of summing: each counts 1 / GRID^2."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x / GRID**2)
