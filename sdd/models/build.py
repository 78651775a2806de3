"""Building a model from its name, or a user's own from its function."""

import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from sdd.base.errors import StudyError
from sdd.base.names import listed, load
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
            _answer(model.eval(), name, own, (channels, size, size), classes)
    finally:
        model.train(training)
    return model


def try_training(
    model: nn.Module, name: str, own: str | None, shape: tuple[int, int, int], classes: int
) -> None:
    """Has a model, which `build` has made, take a training step on two images, but for the update.

    Raises StudyError for a user's own that cannot be trained as it is.
    """
    own = own or name
    logits = _answer(model.train(), name, own, shape, classes, ", in training")
    try:
        F.cross_entropy(logits, torch.zeros(2, dtype=torch.long)).backward()
    except Exception as error:
        raise _refused(name, own, f"cannot be trained: {_told(error)}") from error
    if wrong := unreached(dict(model.named_parameters())):
        raise _refused(name, own, wrong)


def unreached(parameters: Mapping[str, nn.Parameter]) -> str | None:
    """What is wrong with a model of these parameters after a backward pass: some have no gradient.

    None if all have one, as the optimizer's fused kernels want it.
    """
    lacking = [name for name, parameter in parameters.items() if parameter.grad is None]
    if not lacking:
        return None
    layers = listed(dict.fromkeys(name.rpartition(".")[0] or name for name in lacking))
    return (
        f"has layers that no gradient reaches: {layers}. Every parameter is trained: its forward "
        "must use them all, in training too, and none may be frozen; leave out what is not used"
    )


def _answer(
    model: nn.Module, name: str, own: str, shape: tuple[int, int, int], classes: int, when: str = ""
) -> torch.Tensor:
    """Its logits of two images."""
    try:
        logits = model(torch.zeros(2, *shape))
    except Exception as error:
        images = f"{[2, *shape]}{when}"
        raise _refused(name, own, f"fails on images {images}: {_told(error)}") from error
    if not isinstance(logits, torch.Tensor) or logits.shape != (2, classes):
        tensor = isinstance(logits, torch.Tensor)
        found = list(logits.shape) if tensor else type(logits).__name__
        raise _refused(name, own, f"gives {found} for two images{when}, not logits [2, {classes}]")
    return logits


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
