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
import warnings
from dataclasses import dataclass
from types import EllipsisType

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx

from sdd.models.resnet import BasicBlock
from sdd.models.vgg import GridPool
from sdd.pruning import Masks
from sdd.settings import Recipe

# The share of kept weights below which sparse products are the faster ones, than torch's and than
# oneDNN's: LeNet's first layer breaks even at 0.45 and 0.27, in batches of 128 on one thread of an
# AMD EPYC with AVX-512 and torch 2.13.
DENSEST = 0.4
DENSEST_BESIDE_ONEDNN = 0.25
# Layers with fewer weights stay with torch's dense product, which starts faster than oneDNN's.
SMALLEST = 10_000
# Channels are kept in multiples of this: a convolution on a CPU with AVX-512 takes as long for 49
# channels as for 64, and a GPU's tensor cores want round numbers too.
MULTIPLE = 16

# Layers that treat each unit by itself; a convolution's units are its channels.
WEIGHTED = (nn.Linear, nn.Conv2d)
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
        """MACs of a training step per image: forward, and backward as autograd runs it.

        As `cost.Cost` counts them, but each layer with the weights that it multiplies with.
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
        return faster_products(model, masks)
    return fewer_units(model, masks, recipe, samples)


def faster_products(model: nn.Module, masks: Masks) -> Compacted | None:
    """The same network, whose layers multiply with their kept weights only, or by oneDNN."""
    small = copy.deepcopy(model)
    faster: dict[str, nn.Module] = {}
    for name, layer in (pair for chain in _chains(small) for pair in chain):
        if not isinstance(layer, nn.Linear):
            continue
        mask, onednn = masks[f"{name}.weight"], _suits_onednn(layer)
        if mask.sum() < (DENSEST_BESIDE_ONEDNN if onednn else DENSEST) * mask.numel():
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
    for chain in _chains(model):
        used = _used(chain, masks)
        if any(len(_kept(units)) < len(units) for units in used.values()):
            index |= _smaller(chain, used)
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


def _chains(model: nn.Module) -> list[Chain]:
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


def _used(chain: Chain, masks: Masks) -> dict[str, Tensor]:
    """For each layer with weights, which of its units are not parked."""
    used: dict[str, Tensor] = {}
    reached: Tensor | None = None  # inputs of the next layer with a kept weight to a used unit
    for name, layer in reversed(chain):
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


def _smaller(chain: Chain, used: dict[str, Tensor]) -> dict[str, Index]:
    """Where the tensors of the kept units lie."""
    index: dict[str, Index] = {}
    units, width = None, 0  # of the layer before: which are kept, of how many
    for name, layer in chain:
        if name in used:
            inputs = torch.arange(layer.weight.shape[1], device=layer.weight.device)
            if units is not None:
                inputs = inputs.view(width, -1)[units].flatten()
            units, width = _kept(used[name]), len(used[name])
            index[f"{name}.weight"] = (units[:, None], inputs)
            if layer.bias is not None:
                index[f"{name}.bias"] = units
        elif units is not None and isinstance(layer, nn.BatchNorm2d):
            keys = ("weight", "bias", "running_mean", "running_var")
            index |= {f"{name}.{key}": units for key in keys}
    return index


class SparseLinear(nn.Module):
    """A linear layer as the list of its kept weights, row by row; on the CPU.

    Activations lie as [features, batch] in memory: each weight is then a multiply-add of two
    contiguous rows. The kernel of embedding_bag does it 3 to 4 times as fast as torch's sparse
    matrix product.
    """

    def __init__(self, layer: nn.Linear, mask: Tensor) -> None:
        super().__init__()
        self.weight = nn.Parameter(layer.weight.detach()[mask])
        self.bias = layer.bias
        self.pattern = Pattern.of(mask, self.weight.dtype)

    def forward(self, x: Tensor) -> Tensor:
        return SparseProduct.apply(x, self.weight, self.bias, self.pattern)


@dataclass(frozen=True)
class Pattern:
    """Where the kept weights of a layer stand: row by row, and again column by column."""

    columns: Tensor  # of each weight
    row_starts: Tensor  # and the end
    rows: Tensor  # of each weight, in the order of the columns
    column_starts: Tensor
    by_column: Tensor  # that order
    zeros: Tensor  # the sparse matrix, without values

    @classmethod
    def of(cls, mask: Tensor, dtype: torch.dtype) -> "Pattern":
        rows, columns = (index.contiguous() for index in mask.nonzero().unbind(1))
        by_column = columns.argsort(stable=True)
        row_starts, column_starts = (F.pad(mask.sum(dim).cumsum(0), (1, 0)) for dim in (1, 0))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # sparse matrices are in beta
            zeros = torch.sparse_csr_tensor(
                row_starts, columns, torch.zeros(len(columns), dtype=dtype), mask.shape
            )
        return cls(columns, row_starts, rows[by_column], column_starts, by_column, zeros)


class SparseProduct(torch.autograd.Function):
    """x [batch, inputs] times the transposed sparse weight, plus bias; all three are trained."""

    @staticmethod
    def forward(
        ctx: FunctionCtx, x: Tensor, weight: Tensor, bias: Tensor | None, pattern: Pattern
    ) -> Tensor:
        x = x.t().contiguous()  # copies nothing behind another sparse product
        ctx.pattern = pattern
        ctx.save_for_backward(x, weight)
        output = _weighted_sums(x, pattern.columns, pattern.row_starts, weight)
        return (output if bias is None else output.add_(bias[:, None])).t()

    @staticmethod
    def backward(ctx: FunctionCtx, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        pattern, gradient = ctx.pattern, gradient.t().contiguous()
        # Of the products of each output's gradient with each input, those at kept weights.
        of_weight = torch.sparse.sampled_addmm(pattern.zeros, gradient, x.t(), beta=0).values()
        of_x = of_bias = None
        if ctx.needs_input_grad[0]:
            by_column = weight[pattern.by_column]
            of_x = _weighted_sums(gradient, pattern.rows, pattern.column_starts, by_column).t()
        if ctx.needs_input_grad[2]:
            of_bias = gradient.sum(1)
        return of_x, of_weight, of_bias, None


class OneDnnLinear(nn.Module):
    """A linear layer whose products oneDNN computes; in float32, on the CPU.

    torch gives them to MKL, which leaves AVX-512 unused on AMD's processors: a step of LeNet's
    first layer takes twice as long there.
    """

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        self.weight, self.bias = layer.weight, layer.bias

    def forward(self, x: Tensor) -> Tensor:
        return OneDnnProduct.apply(x, self.weight, self.bias)


class OneDnnProduct(torch.autograd.Function):
    """x [batch, inputs] times the transposed weight, plus bias; all three are trained."""

    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        return _product(x, weight, bias)

    @staticmethod
    def backward(ctx: FunctionCtx, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        of_x = _product(gradient, weight.t()) if ctx.needs_input_grad[0] else None
        of_bias = gradient.sum(0) if ctx.needs_input_grad[2] else None
        return of_x, _product(gradient.t(), x.t()), of_bias


def _suits_onednn(layer: nn.Linear) -> bool:
    return (
        layer.weight.numel() >= SMALLEST
        and layer.weight.dtype == torch.float32
        and torch.backends.mkldnn.is_available()
    )


def _product(a: Tensor, b: Tensor, bias: Tensor | None = None) -> Tensor:
    """a times the transposed b, plus bias: the one product of dense float32 that oneDNN offers."""
    return torch.ops.mkldnn._linear_pointwise(a, b, bias, "none", [], "")


def _weighted_sums(table: Tensor, index: Tensor, starts: Tensor, weights: Tensor) -> Tensor:
    """Sums weights[k] * table[index[k]] over k from each start to the next."""
    return F.embedding_bag(
        index, table, starts, mode="sum", per_sample_weights=weights, include_last_offset=True
    )
