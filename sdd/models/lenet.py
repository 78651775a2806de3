"""LeNet-300-100, the fully connected network of the paper's MNIST experiments (section 4)."""

from collections import OrderedDict

from torch import nn


def lenet_300_100(channels: int, size: int, classes: int) -> nn.Module:
    return mlp(channels, size, classes, 300, 100)


def mlp(channels: int, size: int, classes: int, first: int, second: int) -> nn.Module:
    """The same with hidden layers of so many units."""
    return nn.Sequential(
        OrderedDict(
            flatten=nn.Flatten(),
            fc1=nn.Linear(channels * size * size, first),
            relu1=nn.ReLU(),
            fc2=nn.Linear(first, second),
            relu2=nn.ReLU(),
            fc3=nn.Linear(second, classes),
        )
    )
