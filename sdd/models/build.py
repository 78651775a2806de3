"""Building a model from its name, or a user's own from its function."""

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn

from sdd.base.errors import StudyError
from sdd.base.names import load
from sdd.models import names


def build(
    name: str, *, channels: int, size: int, classes: int, seed: int, own: str | None = None
) -> nn.Module:
    """A new float32 model on the current device: [N, channels, size, size] -> [N, classes] logits.

    `own` is the module:function of a model that this project does not know by name. The same `seed`
    gives the same weights, and no global random state moves. Raises StudyError for an unknown
    name, where an image of `size` x `size` pixels does not fit the model, and for a user's own that
    is not what it must be.
    """
    if own:
        with seeded(seed):
            return _checked(name, own, channels, size, classes)
    names.check(name, size)
    model, numbers = names.find(name)
    builder = load(model.builder)
    with seeded(seed):
        return builder(channels, size, classes, *numbers)


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """torch's generator starts from `seed` in the block, and goes on after it as if nothing was."""
    # Not torch.manual_seed: that would also seed every accelerator, which isn't forked.
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield


def _checked(name: str, own: str, channels: int, size: int, classes: int) -> nn.Module:
    """The user's own model, once it has answered to two images."""
    try:
        model: Any = load(own)(channels, size, classes)
    except Exception as error:
        raise _refused(name, own, f"fails: {_told(error)}") from error
    if not isinstance(model, nn.Module):
        raise _refused(name, own, f"returns a {type(model).__name__}, not a torch module")
    if not any(isinstance(layer, nn.Linear | nn.Conv2d) for layer in model.modules()):
        raise _refused(name, own, "has no linear or convolution layer, so nothing can be pruned")
    training = model.training
    try:
        with torch.no_grad():
            logits = model.eval()(torch.zeros(2, channels, size, size))
    except Exception as error:
        shape = f"[2, {channels}, {size}, {size}]"
        raise _refused(name, own, f"fails on images {shape}: {_told(error)}") from error
    finally:
        model.train(training)
    if not isinstance(logits, torch.Tensor) or logits.shape != (2, classes):
        tensor = isinstance(logits, torch.Tensor)
        found = list(logits.shape) if tensor else type(logits).__name__
        raise _refused(name, own, f"gives {found} for two images, not logits [2, {classes}]")
    return model


def _told(error: Exception) -> str:
    """What went wrong, and in which line of the user's code."""
    frames = traceback.extract_tb(error.__traceback__)
    last = frames[-1] if frames else None
    where = f" ({Path(last.filename).name}, line {last.lineno})" if last else ""
    return f"{type(error).__name__}: {error}{where}"


def _refused(name: str, own: str, why: str) -> StudyError:
    return StudyError(
        f"models.{name}: {own} {why}. It takes (channels, size, classes) and returns a torch "
        "module that maps images [N, channels, size, size] to logits [N, classes]."
    )
