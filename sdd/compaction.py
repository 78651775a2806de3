"""The exact small network behind a sparse one.

Pruned weights cost as much as others in a dense product. A round may train a smaller network
instead, by the same loop, and write back what training the masked network would have given, equal
but for the order in which sums are rounded. There are two ways to it.

Sparse products (networks of linear layers, on the CPU): a layer holds its kept weights only.

Fewer units (chains of convolutions and linear layers, on any device): a unit is parked when every
weight that leaves it is pruned or ends in a parked unit. The loss does not depend on it, so that
its weights, its bias and the scale and shift of its normalisation get no gradient, and all they do
is decay, by the same factor. Parked weights stay kept: they are ranked at their decayed value.
The running statistics of a parked unit are not followed. Masks only shrink, so that nothing will
ever read them.

A unit without an incoming weight is constant over the batch, but it trains, and is left as it is.
"""

import copy
import math
import warnings
from dataclasses import dataclass
from types import EllipsisType

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sdd.models.resnet import BasicBlock
from sdd.models.vgg import GridPool
from sdd.pruning import Masks
from sdd.settings import Recipe

# LeNet-300-100, batches of 128, one thread: sparse products are faster for layers below 40 to 50 %.
DENSEST = 0.3
# Units are kept in multiples of this, as vector units and tensor cores want them.
MULTIPLE = 8

# Layers that treat each unit by itself. A convolution's unit is a channel.
UNITWISE = (nn.ReLU, nn.BatchNorm2d, nn.MaxPool2d, nn.Flatten, GridPool)

Index = Tensor | tuple[Tensor, ...] | EllipsisType
Layers = list[tuple[str, nn.Module]]


@dataclass(frozen=True)
class Compacted:
    """A small network and how it lies in the full one; tensors have the same names in both."""

    model: nn.Module
    masks: Masks  # of the layers that are still dense
    index: dict[str, Index]  # small tensor = full tensor[index]; whole where there is none
    decay: float  # what the round leaves of a parked weight

    @torch.no_grad()
    def restore(self, full: nn.Module) -> None:
        """Writes what the small network has learnt into the full one, which it was made from."""
        state = full.state_dict()
        for parameter in full.parameters():
            parameter.mul_(self.decay)
        for name, value in self.model.state_dict().items():
            state[name][self.index.get(name, ...)] = value


def compact(model: nn.Module, masks: Masks, recipe: Recipe, samples: int) -> Compacted | None:
    """The network to train in place of `model` for a round on `samples` images, or None.

    None means that nothing is gained: no layer is sparse enough, no unit is parked, or the model
    is of a kind that is not taken apart. `model` is left as it is, pruned weights being zero.
    """
    linear = not any(isinstance(m, nn.Conv2d) for m in model.modules())
    on_cpu = all(p.device.type == "cpu" for p in model.parameters())
    if linear and on_cpu and recipe.precision == "float32":
        return sparse_products(model, masks)
    return fewer_units(model, masks, recipe, samples)


def sparse_products(model: nn.Module, masks: Masks) -> Compacted | None:
    """Linear layers of a chain hold their kept weights only, where these are few."""
    index: dict[str, Index] = {}
    small = copy.deepcopy(model)
    for name, layer in [pair for chain in _chains(model) for pair in chain]:
        mask = masks.get(f"{name}.weight")
        if mask is not None and mask.sum() < DENSEST * mask.numel():
            small.set_submodule(name, SparseLinear(layer, mask))
            index[f"{name}.weight"] = mask
    dense = {name: mask for name, mask in masks.items() if name not in index}
    return Compacted(small, dense, index, decay=1.0) if index else None


def fewer_units(model: nn.Module, masks: Masks, recipe: Recipe, samples: int) -> Compacted | None:
    """The network without its parked units."""
    index: dict[str, Index] = {}
    small = copy.deepcopy(model)
    for chain in _chains(model):
        used = _used_units(chain, masks)
        inputs: Tensor | None = None  # which units of the layer before are left; None: all
        for name, layer in chain:
            if isinstance(layer, nn.Conv2d | nn.Linear):
                units = _chosen(used[name])
                columns = _columns(layer.weight.shape[1], inputs, len(used.get(before, [])))
            ...
    return None


def live_units(model: nn.Module, masks: Masks) -> dict[str, int]:
    """How many units of each layer are not parked, where the model can be taken apart."""
