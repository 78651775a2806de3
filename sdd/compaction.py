"""The exact small network behind a sparse one.

In a dense product a pruned weight costs as much as a kept one. A round may train a smaller network
in its place, by the same loop, and write back what training the masked network would have given;
only the order in which sums are rounded differs. There are two ways to it.

Sparse products (networks of linear layers, on the CPU). A layer holds its kept weights only. Every
unit stays, so that nothing else has to be thought of.

Fewer units (convolutions and linear layers in a row, on any device). A unit is parked when each
weight that leaves it is pruned or leads to a parked unit. The loss does not depend on it: its
incoming weights, its bias and the scale and shift of its normalisation get no gradient, they only
decay, all by one factor, and need no network. They still count as kept, and are ranked for pruning
at their decayed value. The running statistics of a parked unit are not the full network's. Masks
only shrink, so that no output will ever depend on them.

A unit without incoming weights is constant over a batch, but its bias and its outgoing weights
train. It is left as it is: such units are few, and a path of their own costs more than it saves.
"""

import copy
import math
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from types import EllipsisType

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx, once_differentiable

from sdd.models.resnet import BasicBlock
from sdd.models.vgg import GridPool
from sdd.pruning import Masks
from sdd.settings import Recipe

# The share of kept weights below which a layer's sparse products are the faster ones: LeNet's
# layers with batches of 128 on one thread of an AMD EPYC (AVX-512) break even at 0.4 to 0.5.
DENSEST = 0.3
# Channels are kept in multiples of this: a convolution on a CPU with AVX-512 takes as long for 49
# channels as for 64, and a GPU's tensor cores want round numbers too.
MULTIPLE = 16

# Layers that treat each unit by itself; a convolution's units are its channels.
UNITWISE = (nn.ReLU, nn.BatchNorm2d, nn.MaxPool2d, nn.Flatten, GridPool)

Index = Tensor | tuple[Tensor, ...] | EllipsisType
Chain = list[tuple[str, nn.Module]]


@dataclass(frozen=True)
class Compacted:
    """A small network, and where its tensors lie in those of the same name in the full one."""

    model: nn.Module
    masks: Masks  # of the layers that still multiply with pruned weights
    index: dict[str, Index]  # small = full[index], for the tensors that got smaller
    decay: float  # what is left of a parked weight after the round

    @torch.no_grad()
    def restore(self, full: nn.Module) -> None:
        """Ends the round in `full`, which must be as it was when it was compacted."""
        for parameter in full.parameters():
            parameter.mul_(self.decay)  # right for the parked; the others are written over
        state = full.state_dict()
        for name, trained in self.model.state_dict().items():
            state[name][self.index.get(name, ...)] = trained

    def step_macs(self, shape: tuple[int, int, int]) -> int:
        """Multiply-accumulates of a training step, per image of `shape`; see `cost.Cost`."""
        return step_macs(self.model, shape)


def compact(model: nn.Module, masks: Masks, recipe: Recipe, samples: int) -> Compacted | None:
    """What to train instead of `model`, whose pruned weights are zero, on `samples` images.

    None where nothing is gained: for a model that is not a row of known layers or of residual
    blocks, before a layer is sparse enough, or before enough units are parked.
    """
    parameters = list(model.parameters())
    if (
        all(p.dim() <= 2 and p.device.type == "cpu" for p in parameters)
        and recipe.precision == "float32"
    ):
        return sparse_products(model, masks)
    return fewer_units(model, masks, recipe, samples)


def sparse_products(model: nn.Module, masks: Masks) -> Compacted | None:
    """The same network, whose sparse layers hold and multiply with their kept weights only."""
    sparse = [
        (name, layer, masks[f"{name}.weight"])
        for chain in _chains(model)
        for name, layer in chain
        if isinstance(layer, nn.Linear)
        and masks[f"{name}.weight"].sum() < DENSEST * layer.weight.numel()
    ]
    if not sparse:
        return None
    small = copy.deepcopy(model)
    for name, layer, mask in sparse:
        small.set_submodule(name, SparseLinear(layer, mask))
    index: dict[str, Index] = {f"{name}.weight": mask for name, _, mask in sparse}
    dense = {name: mask for name, mask in masks.items() if name not in index}
    return Compacted(small, dense, index, decay=1.0)  # nothing is parked


def fewer_units(model: nn.Module, masks: Masks, recipe: Recipe, samples: int) -> Compacted | None:
    """The network without its parked units, but for those that round a layer's width up."""
    index: dict[str, Index] = {}
    for chain in _chains(model):
        if all(len(_kept(used)) == len(used) for used in _used(chain, masks).values()):
            continue
        index |= _smaller(chain, _used(chain, masks))
    if not index:
        return None
    small = copy.deepcopy(model)
    for name, where in index.items():
        path, _, key = name.rpartition(".")
        layer = small.get_submodule(path)
        value = getattr(layer, key).detach()[where]
        setattr(layer, key, nn.Parameter(value) if key in layer._parameters else value)
    if recipe.channels_last:
        small.to(memory_format=torch.channels_last)
    taken = {name: mask[index.get(name, ...)] for name, mask in masks.items()}
    return Compacted(small, taken, index, parked_decay(recipe, samples))


def live_units(model: nn.Module, masks: Masks) -> dict[str, int]:
    """How many units of each layer are not parked; layers that cannot be narrowed are left out."""
    return {
        name: int(used.sum())
        for chain in _chains(model)
        for name, used in _used(chain, masks).items()
    }


def parked_decay(recipe: Recipe, samples: int) -> float:
    """The factor by which a round on `samples` images scales weights that get no gradient.

    AdamW takes the share rate * decay of a weight w off in every step. SGD's momentum m takes
    part: m <- momentum * m + decay * w, then w <- w - rate * m, from w = 1 and m = 0. Both are
    linear, so that one factor holds for every weight.
    """
    weight, momentum = 1.0, 0.0
    for epoch in range(recipe.epochs):
        rate = recipe.learning_rate_at(epoch)
        for _ in range(math.ceil(samples / recipe.batch_size)):
            if recipe.optimizer == "adamw":
                weight -= rate * recipe.weight_decay * weight
            else:
                momentum = recipe.momentum * momentum + recipe.weight_decay * weight
                weight -= rate * momentum
    return weight


def step_macs(model: nn.Module, shape: tuple[int, int, int]) -> int:
    """MACs of a training step per image: forward, and backward as autograd runs it.

    Of convolutions and linear layers, each with the weights that it multiplies with.
    """
    macs: list[int] = []

    def count(layer: nn.Module, inputs: tuple[Tensor], output: Tensor) -> None:
        macs.append(layer.weight.numel() * output[0, 0].numel())

    hooks = [
        layer.register_forward_hook(count)
        for layer in model.modules()
        if isinstance(layer, nn.Linear | nn.Conv2d | SparseLinear)
    ]
    weight = next(model.parameters())
    with torch.no_grad():
        model.eval()(torch.zeros(1, *shape, dtype=weight.dtype, device=weight.device))
    for hook in hooks:
        hook.remove()
    return 3 * sum(macs) - macs[0]  # the first layer needs no gradient of its input


def _chains(model: nn.Module) -> list[Chain]:
    """Layers in a row, by name. Only the first sees the input, only the last the output.

    Of a residual block that is what lies between its two convolutions.
    """
    weighted = (nn.Linear, nn.Conv2d)
    if isinstance(model, nn.Sequential):
        row = list(model.named_children())
        return [row] if all(isinstance(layer, weighted + UNITWISE) for _, layer in row) else []
    return [
        [(f"{name}.{part}", block.get_submodule(part)) for part in ("conv1", "bn1", "conv2")]
        for name, block in model.named_modules()
        if isinstance(block, BasicBlock)
    ]


def _used(chain: Chain, masks: Masks) -> dict[str, Tensor]:
    """For each layer with weights, which of its units are not parked."""
    used: dict[str, Tensor] = {}
    reached: Tensor | None = None  # inputs of the next layer with a kept weight to a used unit
    for name, layer in reversed(chain):
        if not isinstance(layer, nn.Linear | nn.Conv2d):
            continue
        mask = masks[f"{name}.weight"]
        if reached is None:
            used[name] = mask.new_ones(len(mask))
        else:  # a linear layer behind a map has an input for each pixel of each channel
            used[name] = reached.reshape(len(mask), -1).any(1)
        reached = mask[used[name]].any(0)
    return used


def _kept(used: Tensor) -> Tensor:
    """The used units, and the first parked ones up to a multiple; in order, and at least some.

    A parked unit trains as it would in the full network: without gradient.
    """
    count = max(1, math.ceil(int(used.sum()) / MULTIPLE)) * MULTIPLE
    return (~used).int().argsort(stable=True)[:count].sort().values


def _smaller(chain: Chain, used: dict[str, Tensor]) -> dict[str, Index]:
    """Where the tensors of the kept units lie."""
    index: dict[str, Index] = {}
    units: Tensor | None = None
    for name, layer in chain:
        if name in used:
            inputs = torch.arange(layer.weight.shape[1], device=layer.weight.device)
            if units is not None:
                inputs = inputs.view(width, -1)[units].flatten()
            units, width = _kept(used[name]), len(used[name])
            index[f"{name}.weight"] = (units[:, None], inputs)
            if layer.bias is not None:
                index[f"{name}.bias"] = units
        elif isinstance(layer, nn.BatchNorm2d):
            keys = ("weight", "bias", "running_mean", "running_var")
            index |= {f"{name}.{key}": units for key in keys}
    return index


class SparseLinear(nn.Module):
    """A linear layer as the list of its kept weights, row by row.

    Activations lie as [features, batch]: a weight is then one multiply-add of two contiguous rows,
    summed by the kernel of embedding_bag. It is 3 to 10 times as fast as torch's sparse matrices.
    """

    def __init__(self, layer: nn.Linear, mask: Tensor) -> None:
        super().__init__()
        self.weight = nn.Parameter(layer.weight.detach()[mask])
        self.bias = layer.bias
        self.pattern = Pattern.of(mask, self.weight.dtype)

    def forward(self, x: Tensor) -> Tensor:
        return SparseProduct.apply(x, self.weight, self.bias, self.pattern)
