"""The exact small network behind a sparse one.

In a dense product a pruned weight costs as much as a kept one. A round may train a smaller network
in its place, by the same loop, and write back what training the masked network would have given;
only the order in which sums are rounded differs. There are two ways to it.

Faster products (networks of linear layers, on the CPU). A sparse layer holds its kept weights only,
and a dense one multiplies by another library than torch's. Every unit stays, so that nothing else
has to be thought of.

Fewer units (convolutions and linear layers in a row, on any device). A unit is parked when each
weight that leaves it is pruned or leads to a parked unit. The loss does not depend on it: its
incoming weights, its bias and the scale and shift of its normalisation get no gradient, they only
decay, all by one factor, and need no network. They still count as kept, and are ranked for pruning
at their decayed value. The running statistics of a parked unit are not the full network's. Masks
only shrink, so that no output will ever depend on them.

A unit without incoming weights is constant over a batch, but its bias and its outgoing weights
train. It stays a unit like others: such units are few, and a path of their own cost LeNet more
time than it saved, and would have saved a VGG-like 1 % of its MACs.
"""

import copy
import math
from dataclasses import dataclass
from types import EllipsisType

import torch
from torch import Tensor, nn

from sdd.machine.processor import Kernels
from sdd.models.resnet import BasicBlock
from sdd.models.vgg import GridPool
from sdd.sparsity.kernel_choice import channels_last, kernels_for
from sdd.sparsity.kernels import OneDnnLinear, SparseLinear, suits_onednn
from sdd.sparsity.masks import Masks
from sdd.study.settings import Recipe

# Channels are kept in multiples of this: a convolution on a CPU with AVX-512 takes as long for 49
# channels as for 64, and a GPU's tensor cores want round numbers too.
MULTIPLE = 16

# Layers that treat each unit by itself; a convolution's units are its channels.
WEIGHTED = (nn.Linear, nn.Conv2d)
UNITWISE = (nn.ReLU, nn.BatchNorm2d, nn.MaxPool2d, nn.Flatten, GridPool)

Index = Tensor | tuple[Tensor, ...] | EllipsisType
Row = list[tuple[str, nn.Module]]


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
        """MACs of a training step per image: forward, and backward as autograd runs it.

        As `sdd.study.metrics.Macs` counts them, but each layer with the weights that it
        multiplies with.
        """
        macs: list[int] = []

        def count(layer: nn.Module, inputs: tuple[Tensor], output: Tensor) -> None:
            macs.append(layer.weight.numel() * output[0, 0].numel())  # for each pixel of the map

        hooks = [
            layer.register_forward_hook(count)
            for layer in self.model.modules()
            if isinstance(layer, (*WEIGHTED, SparseLinear, OneDnnLinear))
        ]
        weight = next(self.model.parameters())
        with torch.no_grad():
            self.model.eval()(torch.zeros(1, *shape, dtype=weight.dtype, device=weight.device))
        for hook in hooks:
            hook.remove()
        return 3 * sum(macs) - macs[0]  # the first layer needs no gradient of its input


def compact(model: nn.Module, masks: Masks, recipe: Recipe, samples: int) -> Compacted | None:
    """What to train instead of `model`, whose pruned weights are zero, on `samples` images.

    None where nothing is gained: for a model that is not a row of known layers or of residual
    blocks, before a layer is sparse enough, or before enough units are parked.
    """
    convolutions = any(isinstance(layer, nn.Conv2d) for layer in model.modules())
    on_cpu = all(parameter.device.type == "cpu" for parameter in model.parameters())
    if on_cpu and not convolutions and recipe.precision == "float32":
        return faster_products(model, masks, kernels_for(recipe, torch.device("cpu")))
    return fewer_units(model, masks, recipe, samples)


def faster_products(model: nn.Module, masks: Masks, kernels: Kernels) -> Compacted | None:
    """The same network, whose layers multiply with their kept weights only, or by oneDNN.

    Which of them do is up to `kernels`.
    """
    small = copy.deepcopy(model)
    faster: dict[str, nn.Module] = {}
    for name, layer in (pair for row in _rows(small) for pair in row):
        if not isinstance(layer, nn.Linear):
            continue
        mask, onednn = masks[f"{name}.weight"], suits_onednn(layer, kernels)
        densest = kernels.sparse_below_onednn if onednn else kernels.sparse_below
        if mask.sum() < densest * mask.numel():
            faster[name] = SparseLinear(layer, mask)
        elif onednn:
            faster[name] = OneDnnLinear(layer)
    if not faster:
        return None
    for name, layer in faster.items():
        small.set_submodule(name, layer)
    sparse = [f"{name}.weight" for name, m in faster.items() if isinstance(m, SparseLinear)]
    index: dict[str, Index] = {name: masks[name] for name in sparse}
    dense = {name: mask for name, mask in masks.items() if name not in index}
    return Compacted(small, dense, index, decay=1.0)  # nothing is parked


def fewer_units(model: nn.Module, masks: Masks, recipe: Recipe, samples: int) -> Compacted | None:
    """The network without its parked units, but for those that round a layer's width up."""
    index: dict[str, Index] = {}
    for row in _rows(model):
        used = used_units(row, masks)
        kept = {name: _kept(units) for name, units in used.items()}
        if any(len(kept[name]) < len(units) for name, units in used.items()):
            index |= smaller(row, kept)
    if not index:
        return None
    small = copy.deepcopy(model)
    cut(small, index)
    if channels_last(recipe, next(small.parameters()).device):
        small.to(memory_format=torch.channels_last)
    taken = {name: mask[index.get(name, ...)] for name, mask in masks.items()}
    return Compacted(small, taken, index, parked_decay(recipe, samples))


def cut(model: nn.Module, index: dict[str, Index]) -> None:
    """Leaves of each tensor what lies at its `index`, in place."""
    for name, where in index.items():
        path, _, key = name.rpartition(".")
        layer = model.get_submodule(path)
        value = getattr(layer, key).detach()[where]
        setattr(layer, key, nn.Parameter(value) if key in layer._parameters else value)


def knows(model: nn.Module) -> bool:
    """Whether some of a model's layers could be made smaller; else it is always trained masked."""
    return bool(_rows(model))


def live_units(model: nn.Module, masks: Masks) -> dict[str, int]:
    """How many units of each layer are not parked; layers that cannot be narrowed are left out."""
    return {
        name: int(used.sum())
        for row in _rows(model)
        for name, used in used_units(row, masks).items()
    }


def parked_decay(recipe: Recipe, samples: int) -> float:
    """The factor by which a round on `samples` images scales weights that get no gradient.

    AdamW takes the share rate * decay of a weight w off in every step. SGD's momentum m takes
    part: m <- momentum * m + decay * w, then w <- w - rate * m, from w = 1 and m = 0; with
    Nesterov's w <- w - rate * (decay * w + momentum * m). All are linear, so that one factor holds
    for every weight.
    """
    weight, momentum = 1.0, 0.0
    for epoch in range(recipe.epochs):
        rate = recipe.learning_rate_at(epoch)
        for _ in range(math.ceil(samples / recipe.batch_size)):
            if recipe.optimizer == "adamw":
                weight -= rate * recipe.weight_decay * weight
            else:
                gradient = recipe.weight_decay * weight
                momentum = recipe.momentum * momentum + gradient
                ahead = gradient + recipe.momentum * momentum
                weight -= rate * (ahead if recipe.nesterov else momentum)
    return weight


def _rows(model: nn.Module) -> list[Row]:
    """Layers in a row, by name. Only the first sees the input, only the last the output.

    Of a residual block that is what lies between its two convolutions.
    """
    if isinstance(model, nn.Sequential):
        row = list(model.named_children())
        return [row] if all(isinstance(layer, WEIGHTED + UNITWISE) for _, layer in row) else []
    return [
        [(f"{name}.{part}", block.get_submodule(part)) for part in ("conv1", "bn1", "conv2")]
        for name, block in model.named_modules()
        if isinstance(block, BasicBlock)
    ]


def used_units(row: Row, masks: Masks) -> dict[str, Tensor]:
    """For each layer with weights, which of its units are not parked."""
    used: dict[str, Tensor] = {}
    reached: Tensor | None = None  # inputs of the next layer with a kept weight to a used unit
    for name, layer in reversed(row):
        if not isinstance(layer, WEIGHTED):
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


def smaller(row: Row, kept: dict[str, Tensor]) -> dict[str, Index]:
    """Where the tensors of the `kept` units of each layer with weights lie."""
    index: dict[str, Index] = {}
    units, width = None, 0  # of the layer before: which are kept, of how many
    for name, layer in row:
        if name in kept:
            inputs = torch.arange(layer.weight.shape[1], device=layer.weight.device)
            if units is not None:
                inputs = inputs.view(width, -1)[units].flatten()
            units, width = kept[name], len(layer.weight)
            index[f"{name}.weight"] = (units[:, None], inputs)
            if layer.bias is not None:
                index[f"{name}.bias"] = units
        elif units is not None and isinstance(layer, nn.BatchNorm2d):
            keys = ("weight", "bias", "running_mean", "running_var")
            index |= {f"{name}.{key}": units for key in keys}
    return index
