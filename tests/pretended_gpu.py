"""A pretended GPU: what CUDA would refuse is an error, and the bits are the CPU's.

    with pretended():
        torch.ones(3, device="cuda") + torch.ones(3)  # RefusedByCuda

A tensor on it (OnGpu) wraps one of the CPU's, and says that it lies on cuda:0. Each operation that
meets it is checked as a CUDA build would check it, and then computed on what it wraps. So code that
looks at its data runs too (item, nonzero, any), and results can be compared bit by bit.

Refused: tensors on two devices in one operation, but for what CUDA takes (copies, numbers on the
CPU, indices on the CPU); numpy of a tensor on the GPU; generators of the CPU; fused optimizers of
tensors that differ in device, type or strides; the operations of the CPU's own library.

Not looked at: the kernels and CUDA's choice among them, memory, streams.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves, tree_map

CUDA = torch.device("cuda", 0)
NAME = "pretended GPU"
STATE_BYTES = 16  # of the state of CUDA's random generator

COPIES = {"aten::copy_", "aten::_to_copy"}
INDEXED = {"aten::index", "aten::index_put_", "aten::index_put", "aten::_index_put_impl_"}
FUSED = {"aten::_fused_sgd_", "aten::_fused_adamw_"}


class RefusedByCuda(RuntimeError):
    """What a CUDA build would have raised."""


class OnGpu(Tensor):
    """A tensor that says it lies on the GPU; it holds one of the CPU's."""

    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, held: Tensor, requires_grad: bool = False) -> "OnGpu":
        self = Tensor._make_wrapper_subclass(
            cls, held.size(), strides=held.stride(), storage_offset=held.storage_offset(),
            dtype=held.dtype, layout=held.layout, device="cpu", requires_grad=requires_grad,
        )  # fmt: skip
        self.held = held
        return self

    device = property(lambda self: CUDA)
    is_cuda = property(lambda self: True)
    is_cpu = property(lambda self: False)

    def get_device(self) -> int:
        return 0

    def __repr__(self) -> str:
        return f"OnGpu({self.held!r})"

    def __deepcopy__(self, memo: dict[int, Any]) -> "OnGpu":
        if id(self) not in memo:
            copied = OnGpu(self.held.detach().clone(), self.requires_grad)
            if isinstance(self, nn.Parameter):
                copied._is_param = True
            memo[id(self)] = copied
        return memo[id(self)]

    @classmethod
    def __torch_dispatch__(cls, operation, types, arguments=(), options=None):
        options = options or {}
        _check(operation, arguments, options)
        result = operation(*tree_map(_held, arguments), **tree_map(_held, options))
        schema = operation._schema
        if any(r.alias_info and r.alias_info.is_write for r in schema.returns):
            # In place: the very object that was given.
            given = dict(zip((a.name for a in schema.arguments), arguments, strict=False)) | options
            written = [
                given[a.name]
                for a in schema.arguments
                if a.alias_info and a.alias_info.is_write and a.name in given
            ]
            return written[0] if len(written) == 1 else tuple(written)
        return tree_map(lambda x: OnGpu(x) if isinstance(x, Tensor) else x, result)


class _Requests(TorchFunctionMode):
    """Inside, what asks for a device of CUDA's gets tensors on the pretended GPU."""

    def __torch_function__(self, function, types, arguments=(), options=None):
        options, name = dict(options or {}), getattr(function, "__name__", "")
        first = arguments[0] if arguments else None
        if name in ("numpy", "__array__") and isinstance(first, OnGpu):
            raise RefusedByCuda("can't convert cuda:0 device type tensor to numpy")
        if name in ("cpu", "cuda", "to") and isinstance(first, Tensor):
            return self._move(name, first, arguments[1:], options)
        if name == "one_hot" and isinstance(first, OnGpu):
            # In C++ it makes a range on its argument's device, which there is the wrapper's CPU.
            return OnGpu(function(first.held, *arguments[1:], **options))
        if _is_cuda(options.get("device")):
            generator = options.get("generator")
            if generator is not None and generator.device.type == "cpu":
                raise RefusedByCuda(f"{name}: Expected a 'cuda' device type for generator")
            options.pop("device")
            made = function(*arguments, **options)
            return made if isinstance(made, OnGpu) else OnGpu(made.detach(), made.requires_grad)
        return function(*arguments, **options)

    def _move(self, name: str, tensor: Tensor, given: tuple, options: dict[str, Any]) -> Tensor:
        """Tensor.to, cpu and cuda: first to the other device, then to another type or layout."""
        device = options.pop("device", None) if name == "to" else name
        options.pop("non_blocking", None)
        kept = []
        for argument in given if name == "to" else ():
            if isinstance(argument, Tensor):
                device = argument.device
                kept.append(argument.dtype)
            elif isinstance(argument, torch.device | str | int) and not isinstance(argument, bool):
                device = argument
            elif isinstance(argument, torch.dtype):
                kept.append(argument)
        options = {key: value for key, value in options.items() if value is not None}
        if device is not None and _is_cuda(device) != isinstance(tensor, OnGpu):
            moved = _held(tensor).detach().clone()
            tensor = OnGpu(moved) if _is_cuda(device) else moved
        return tensor.to(*kept, **options) if kept or options else tensor


@contextmanager
def pretended() -> Iterator[None]:
    """In the block torch has one GPU."""
    real_autocast = torch.autocast

    def autocast(device_type: str, *arguments: Any, **options: Any) -> torch.autocast:
        return real_autocast(device_type.replace("cuda", "cpu"), *arguments, **options)

    def set_rng_state(state: Tensor, device: object = CUDA) -> None:
        if isinstance(state, OnGpu) or state.dtype != torch.uint8 or not state.is_contiguous():
            raise RefusedByCuda("RNG state must be a contiguous torch.ByteTensor on the CPU")
        assert state.shape == (STATE_BYTES,)

    with (
        mock.patch.object(torch, "autocast", autocast),
        mock.patch.multiple(
            torch.cuda,
            get_rng_state=lambda device=CUDA: torch.zeros(STATE_BYTES, dtype=torch.uint8),
            set_rng_state=set_rng_state,
            synchronize=lambda device=None: None,
            get_device_name=lambda device=None: NAME,
            get_device_capability=lambda device=None: (9, 0),
            is_available=lambda: True,
        ),
    ):
        # Else Module.to writes into the parameters that are there, which lie on the CPU.
        torch.__future__.set_overwrite_module_params_on_conversion(True)
        try:
            with _Requests():
                yield
        finally:
            torch.__future__.set_overwrite_module_params_on_conversion(False)


def _held(x: Any) -> Any:
    return x.held if isinstance(x, OnGpu) else x


def _is_cuda(device: object) -> bool:
    if device is None:
        return False
    return isinstance(device, int) or torch.device(device).type == "cuda"


def _check(operation, arguments: tuple, options: dict[str, Any]) -> None:
    """Raises RefusedByCuda for an operation with a tensor on the GPU that CUDA would refuse."""
    name, given = operation._schema.name, tree_leaves((arguments, options))
    elsewhere = [x for x in given if isinstance(x, Tensor) and not isinstance(x, OnGpu)]
    if elsewhere and name not in COPIES:
        numbers = torch.Tag.pointwise in operation.tags and all(x.ndim == 0 for x in elsewhere)
        indices = name in INDEXED and all(
            x.ndim == 0 or any(x is index for index in arguments[1]) for x in elsewhere
        )
        if not numbers and not (indices and isinstance(arguments[0], OnGpu)):
            raise RefusedByCuda(
                f"{operation}: Expected all tensors to be on the same device, but found on the CPU "
                f"{[list(x.shape) for x in elsewhere]}"
            )
    if any(isinstance(x, torch.Generator) and x.device.type == "cpu" for x in given):
        raise RefusedByCuda(f"{operation}: Expected a 'cuda' device type for generator")
    if "mkldnn" in str(operation):
        raise RefusedByCuda(f"{operation} is of the CPU's library")
    if name in FUSED:
        _check_fused(operation, arguments)


def _check_fused(operation, arguments: tuple) -> None:
    """What CUDA's fused kernels insist on: their fast path (torch's ForeachUtils.h) is their only
    one."""
    named = dict(zip((a.name for a in operation._schema.arguments), arguments, strict=False))
    steps = named.pop("state_steps", ())
    if any(step.dtype != torch.float32 for step in steps):
        raise RefusedByCuda(f"{operation}: steps must be float32")
    lists = [x for x in named.values() if isinstance(x, list | tuple) and x]
    for alike in zip(*lists, strict=True):
        if len({(x.dtype, x.shape, _layout(x)) for x in alike}) > 1:
            raise RefusedByCuda(f"{operation}: types, sizes or strides differ: {alike}")
        if not all(torch.ops.aten.is_non_overlapping_and_dense(x.held) for x in alike):
            raise RefusedByCuda(f"{operation}: a tensor overlaps or has gaps")


def _layout(tensor: Tensor) -> tuple[tuple[int, int], ...]:
    """Sizes and strides, where a stride matters."""
    return tuple(p for p in zip(tensor.shape, tensor.stride(), strict=True) if p[0] != 1)
