"""LeNet-300-100, the fully connected network of the paper's MNIST experiments (section 4)."""

from collections import OrderedDict

from torch import nn


def lenet_300_100(channels: int, size: int, classes: int) -> nn.Module:
    return nn.Sequential(
        OrderedDict(
            flatten=nn.Flatten(),
            fc1=nn.Linear(channels * size * size, 300),
            relu1=nn.ReLU(),
            fc2=nn.Linear(300, 100),
            relu2=nn.ReLU(),
            fc3=nn.Linear(100, classes),
        )
    )
