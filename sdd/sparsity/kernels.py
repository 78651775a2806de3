"""Linear layers that multiply faster than torch's own: with their kept weights only, or by oneDNN.

On the CPU, in float32. What they compute is what a masked layer computes; sums are rounded in
another order.
"""

import warnings
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx

from sdd.machine.processor import Kernels


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
    first layer takes twice as long there. Where it pays stands in sdd.machine.processor.
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


def suits_onednn(layer: nn.Linear, kernels: Kernels) -> bool:
    weight, least = layer.weight, kernels.onednn_from
    return least is not None and weight.numel() >= least and weight.dtype == torch.float32


def _product(a: Tensor, b: Tensor, bias: Tensor | None = None) -> Tensor:
    """a times the transposed b, plus bias: the one product of dense float32 that oneDNN offers."""
    return torch.ops.mkldnn._linear_pointwise(a, b, bias, "none", [], "")


def _weighted_sums(table: Tensor, index: Tensor, starts: Tensor, weights: Tensor) -> Tensor:
    """Sums weights[k] * table[index[k]] over k from each start to the next."""
    return F.embedding_bag(
        index, table, starts, mode="sum", per_sample_weights=weights, include_last_offset=True
    )
