"""What a new model's weights are drawn from: each initialisation is a function.

It gets the model as torch's layers, or the model itself, have drawn it, and draws in place what it
wants otherwise, from torch's own generator. Initialisations are named in `sdd.study.methods`.
"""

from collections.abc import Callable

from torch import nn

from sdd.base.errors import StudyError

Initialisation = Callable[[nn.Module], None]


def default(model: nn.Module) -> None:
    """As it is: torch's, uniform for convolutions and linear layers."""


def kaiming_normal(model: nn.Module) -> None:
    """Convolutions from Kaiming's normal distribution (fan_out, ReLU), as the paper's ResNet-18.

    Everything else stays as it is: linear layers, biases, and norms at 1 and 0.
    """
    convolutions = [layer for layer in model.modules() if isinstance(layer, nn.Conv2d)]
    if not convolutions:
        raise StudyError(
            "initialisation: kaiming-normal draws the weights of convolutions, and this model has "
            "none. Take default in its recipe."
        )
    for layer in convolutions:
        nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")


def he2022(model: nn.Module) -> None:
    """As the code of He et al. (2022), which is open_lth's, draws its networks.

    Convolutions and linear layers from Kaiming's normal distribution (fan_in, ReLU), the scale of
    a batch norm uniformly from [0, 1), its shift 0; biases stay as torch draws them.
    """
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        elif isinstance(layer, nn.BatchNorm2d):
            nn.init.uniform_(layer.weight)
            nn.init.zeros_(layer.bias)
