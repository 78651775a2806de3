"""The exact small network behind a round: what pruning made useless is taken out.

Three steps, each of which leaves every logit as it is but for rounding:

1. A batch norm right behind a convolution goes into that layer's weights and bias. One further on
   goes into the next layer, if that does not pad (a padding pixel is 0, whatever the norm adds
   elsewhere) and if no maximum lies between that a negative scale would turn into a minimum.
2. A unit without incoming weights has one value for every image. What it adds to the next layer
   goes into that layer's bias; behind a padded convolution only a value of 0 does.
3. A unit without outgoing weights is taken out. Each layer keeps at least one unit.

Units are those within a row of layers, as in `sdd.sparsity.compaction`: of networks that are one,
between the two convolutions of a residual block, and in the MLPs of the vision transformer. The
channels of a residual stream and the dimensions of attention stay.
"""

import copy
import itertools
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from sdd.models.resnet import BasicBlock, ResNet
from sdd.models.vgg import GRID, AveragedGridPool, GridPool
from sdd.models.vit import Layer
from sdd.sparsity.compaction import WEIGHTED, Row, cut, smaller, used_units

ELEMENTWISE = (nn.ReLU, nn.GELU, nn.BatchNorm2d)
# What leaves a value that is the same all over a map, or in every token, as it is, or divides it.
PASSING = (nn.MaxPool2d, nn.Flatten, nn.Dropout, nn.Identity, GridPool)


@torch.no_grad()
def simplified(model: nn.Module) -> nn.Module:
    """A copy of `model`, in evaluation mode, that is at most as large and has the same logits.

    Pruned weights are zeros. The copy has the model's precision: double loses least.
    """
    small = copy.deepcopy(model).eval()
    for layers in _sequences(small):
        _fold_norms(small, layers)
    for row in _rows(small):
        _absorb_constants(row)
        masks = {f"{n}.weight": m.weight != 0 for n, m in row if isinstance(m, WEIGHTED)}
        used = used_units(row, masks)
        cut(small, smaller(row, {name: _kept(units) for name, units in used.items()}))
    return small


def size(model: nn.Module) -> int:
    """How many numbers a model holds: weights, biases, and what its norms have measured."""
    return sum(tensor.numel() for tensor in model.state_dict().values())


# --- The structure of known models ---


def _is_row(model: nn.Module) -> bool:
    known = WEIGHTED + ELEMENTWISE + PASSING
    return isinstance(model, nn.Sequential) and all(isinstance(m, known) for m in model)


def _sequences(model: nn.Module) -> Iterator[Row]:
    """Layers of which each sees what the one before it gives, and nobody else does."""
    if _is_row(model):
        yield list(model.named_children())
    for name, module in model.named_modules():
        if isinstance(module, ResNet | BasicBlock):
            of = f"{name}.".removeprefix(".")
            yield [(f"{of}{part}", module.get_submodule(part)) for part in ("conv1", "bn1")]
        if isinstance(module, BasicBlock):
            yield [(f"{name}.{part}", module.get_submodule(part)) for part in ("conv2", "bn2")]
            yield [(f"{name}.shortcut.{n}", m) for n, m in module.shortcut.named_children()]


def _rows(model: nn.Module) -> Iterator[Row]:
    """Layers in a row: only the first sees the input, only the last the output."""
    if _is_row(model):
        yield list(model.named_children())
    for name, module in model.named_modules():
        if isinstance(module, BasicBlock):
            first, last = (f"{name}.conv1", module.conv1), (f"{name}.conv2", module.conv2)
            yield [first, ("", nn.ReLU()), last]
        elif isinstance(module, Layer):
            yield [(f"{name}.mlp.{n}", m) for n, m in module.mlp.named_children()]


# --- Norms ---


def _fold_norms(model: nn.Module, layers: Row) -> None:
    left = []
    for (_, before), (name, norm) in itertools.pairwise(layers):
        if isinstance(norm, nn.BatchNorm2d):
            if isinstance(before, nn.Conv2d):
                _fold_behind(before, norm)
                model.set_submodule(name, nn.Identity())
            else:
                left.append((name, norm))
    for name, norm in left:
        modules = [module for _, module in layers]
        if _fold_ahead(norm, modules[modules.index(norm) + 1 :]):
            model.set_submodule(name, nn.Identity())


def _affine(norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """Scale and shift of each channel."""
    scale = norm.weight / (norm.running_var + norm.eps).sqrt()
    return scale, norm.bias - norm.running_mean * scale


def _fold_behind(layer: nn.Conv2d, norm: nn.BatchNorm2d) -> None:
    scale, shift = _affine(norm)
    layer.weight.mul_(scale.view(-1, 1, 1, 1))
    layer.bias = nn.Parameter(shift if layer.bias is None else layer.bias * scale + shift)


def _fold_ahead(norm: nn.BatchNorm2d, ahead: list[nn.Module]) -> bool:
    """Whether the norm is in the next layer now."""
    scale, shift = _affine(norm)
    for layer in ahead:
        if isinstance(layer, WEIGHTED):
            if _pads(layer):
                return False
            _add_to_bias(layer, _by_input(shift, layer))
            by_input = _by_input(scale, layer)
            layer.weight.mul_(by_input.view(1, -1, *(1,) * (layer.weight.dim() - 2)))
            return True
        turns = isinstance(layer, nn.MaxPool2d) and bool((scale < 0).any())
        if turns or not isinstance(layer, PASSING):
            return False
        shift = _passed(shift, layer)
    return False


# --- Constants ---


def _absorb_constants(row: Row) -> None:
    """What constant units add to the next layer goes to its bias; their weights there become 0."""
    value: Tensor | None = None  # of each unit of the layer before; NaN where it is not constant
    for _, layer in row:
        if isinstance(layer, WEIGHTED):
            if value is not None:
                value = _by_input(value, layer)
                known = value == 0 if _pads(layer) else ~value.isnan()
                _add_to_bias(layer, value.where(known, 0))
                layer.weight[:, known] = 0
            fed = (layer.weight != 0).flatten(1).any(1)
            bias = layer.weight.new_zeros(len(fed)) if layer.bias is None else layer.bias
            value = bias.masked_fill(fed, torch.nan)
        elif value is not None and isinstance(layer, nn.BatchNorm2d):
            value = layer(value.view(1, -1, 1, 1)).flatten()
        elif value is not None:
            value = layer(value) if isinstance(layer, ELEMENTWISE) else _passed(value, layer)


def _passed(values: Tensor, layer: nn.Module) -> Tensor:
    """What one of PASSING makes of values that are each the same all over their map."""
    return values / GRID**2 if isinstance(layer, AveragedGridPool) else values


def _by_input(values: Tensor, layer: nn.Module) -> Tensor:
    """Values of units by input of the next layer: behind a map a linear one has several a unit."""
    return values.repeat_interleave(layer.weight.shape[1] // len(values))


def _add_to_bias(layer: nn.Module, inputs: Tensor) -> None:
    """What a layer makes of `inputs` [n], each the same all over its map, is added to its bias."""
    added = layer.weight.flatten(2).sum(2) if layer.weight.dim() > 2 else layer.weight
    added = added @ inputs
    layer.bias = nn.Parameter(added if layer.bias is None else layer.bias + added)


def _pads(layer: nn.Module) -> bool:
    return isinstance(layer, nn.Conv2d) and any(layer.padding)


def _kept(used: Tensor) -> Tensor:
    """Which units stay: the used ones, or the first where there is none."""
    return used.nonzero().flatten() if used.any() else used.new_zeros(1, dtype=torch.int64)
