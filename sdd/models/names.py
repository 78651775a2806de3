"""The models by name, and which images fit them. Imports no torch.

A new model is a file in this room and a line in MODELS. Its builder takes (channels, size,
classes), then the numbers that <...> stand for in its name.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

from sdd.base import names
from sdd.base.errors import StudyError

WIDEST_LAYER = 2**13  # channels; a VGG's "gamma" meant as a width would ask for billions
PATCH = 4  # pixels a side of the vision transformer's patches
HEAD_DIM = 64  # of each of its heads
DEEPEST = 1000  # layers of it


@dataclass(frozen=True)
class Model:
    """A model's builder, `module:name`, and what keeps it from images of so many pixels a side.

    `misfit` takes that size and the numbers of the name; it returns the reason, or None.
    """

    builder: str
    misfit: Callable[..., str | None] = lambda size, *numbers: None


def _vgg_misfit(size: int, gamma: int, delta: int) -> str | None:
    if size >> delta < 1:
        return (
            f"it halves its images {delta} times, which {size} x {size} pixels do not allow: "
            f"delta is at most {size.bit_length() - 1}"
        )
    if gamma + delta - 1 >= WIDEST_LAYER.bit_length():
        return (
            f"its last block would have 2^{gamma + delta - 1} channels, and {WIDEST_LAYER} is the "
            "limit. gamma is an exponent: 32 channels are gamma 5"
        )
    return None


def _vit_misfit(size: int, dim: int = HEAD_DIM, depth: int = 1) -> str | None:
    if size % PATCH:
        return f"patches of {PATCH} x {PATCH} do not tile {size} x {size} pixels"
    if dim % HEAD_DIM:
        return f"its heads have {HEAD_DIM} dimensions: take a multiple of that instead of {dim}"
    if depth > DEEPEST:
        return f"it would have {depth} layers, and {DEEPEST} is the limit"
    return _too_wide(dim)


def _too_wide(*widths: int) -> str | None:
    if max(widths) > WIDEST_LAYER:
        return f"a layer of {max(widths)} units is wider than {WIDEST_LAYER}, the limit"
    return None


MODELS = {
    "lenet-300-100": Model("sdd.models.lenet:lenet_300_100"),
    "mlp-<first>-<second>": Model("sdd.models.lenet:mlp", lambda size, *units: _too_wide(*units)),
    "resnet18": Model("sdd.models.resnet:resnet18"),
    "resnet18-maxpool": Model("sdd.models.resnet:resnet18_maxpool"),
    "resnet18-<width>": Model(
        "sdd.models.resnet:resnet18", lambda size, width: _too_wide(8 * width)
    ),
    "resnet20-<width>": Model(
        "sdd.models.resnet:resnet20", lambda size, width: _too_wide(4 * width)
    ),
    "vit": Model("sdd.models.vit:vision_transformer", _vit_misfit),
    "vit-<dim>-<depth>": Model("sdd.models.vit:vision_transformer", _vit_misfit),
    "vgg-<gamma>-<delta>": Model("sdd.models.vgg:vgg_like", _vgg_misfit),
    "vgg-<gamma>-<delta>-averaged": Model("sdd.models.vgg:vgg_like_averaged", _vgg_misfit),
}


def find(name: str) -> tuple[Model, tuple[int, ...]]:
    """The model of that name, and the numbers in it. Raises StudyError for an unknown name."""
    for pattern, model in MODELS.items():
        if match := re.fullmatch(_expression(pattern), name, re.ASCII):
            return model, tuple(map(int, match.groups()))
    raise StudyError(f"There is no model {name[:80]!r}. Known are: {', '.join(MODELS)}.")


def check(name: str, size: int) -> None:
    """Raises StudyError unless there is a model of that name for images of `size` x `size`."""
    model, numbers = find(name)
    if reason := model.misfit(size, *numbers):
        raise StudyError(f"{name}: {reason}.")


def module(name: str) -> str:
    """The module that builds the model, as named in an import."""
    return names.module(find(name)[0].builder)


def _expression(pattern: str) -> str:
    # Nine digits at most: what is longer is no width, and takes its time to be counted.
    return re.sub("<.*?>", r"([1-9][0-9]{0,8})", pattern)
