"""A pretended GPU: what CUDA would refuse is an error, and the bits are the CPU's.

    with pretended():
        torch.ones(3, device="cuda") + torch.ones(3)  # RefusedByCuda

A tensor on it (OnGpu) wraps one of the CPU's, and says that it lies on cuda:0. Each operation that
meets it is checked as a CUDA build would check it, and then computed on what it wraps. So code that
looks at its data runs too (item, nonzero, any), and results can be compared bit by bit.

Refused: tensors on two devices in one operation, but for what CUDA takes (copies, numbers on the
CPU, indices on the CPU); numpy of a tensor on the GPU; generators of the CPU; fused optimizers of
tensors that differ in device, type or strides, or of numbers not in single precision; the
operations of the CPU's own library. While a graph is captured, whatever waits for the GPU or comes
from the CPU; a replay takes the recorded operations again, on the very same memory, without Python.

Not looked at: the kernels and CUDA's choice among them, memory, streams.
"""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
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


# What makes the CPU wait, and what copies from its memory.
WAITS = {"aten::_local_scalar_dense", "aten::nonzero", "aten::equal", "aten::is_nonzero"}
FROM_THE_CPU = {"tensor", "as_tensor"}


class RefusedByCuda(RuntimeError):
    """What a CUDA build would have raised."""


class Graph:
    """In the place of torch.cuda.CUDAGraph: the operations of a capture, to be taken again."""

    captured: "Graph | None" = None  # the one that is being captured
    replays = 0

    def __init__(self) -> None:
        self._operations: list[tuple] = []
        self._before: dict[int, tuple[torch.UntypedStorage, torch.UntypedStorage]] = {}

    @contextmanager
    def capture(self) -> Iterator[None]:
        random, Graph.captured = torch.get_rng_state(), self
        try:
            yield
        finally:
            Graph.captured = None
            for memory, content in self._before.values():  # a capture computes nothing
                memory.copy_(content)
            torch.set_rng_state(random)

    def needs(self, *given: Any) -> None:
        for x in tree_leaves(given):
            if isinstance(x, OnGpu):
                memory = x.held.untyped_storage()
                if memory.data_ptr() not in self._before:
                    self._before[memory.data_ptr()] = memory, memory.clone()

    def record(self, operation, arguments: tuple, options: dict[str, Any], made: Any) -> None:
        """`made` is new memory, which a replay fills; None for an operation that writes in place,
        and for a view, which shows what its base holds."""
        self._operations.append((operation, arguments, options, made))

    @torch.no_grad()
    def replay(self) -> None:
        Graph.replays += 1
        for operation, arguments, options, made in self._operations:
            again = operation(*tree_map(_held, arguments), **tree_map(_held, options))
            if made is not None:
                for old, new in zip(tree_leaves(made), tree_leaves(again), strict=True):
                    if isinstance(old, OnGpu):
                        old.held.copy_(new)


class Stream:
    """In the place of torch.cuda.Stream: there is no other order than the program's."""

    def wait_stream(self, other: "Stream") -> None:
        pass


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
        if Graph.captured:
            Graph.captured.needs(arguments, options)
        result = operation(*tree_map(_held, arguments), **tree_map(_held, options))
        schema = operation._schema
        aliases = [r.alias_info for r in schema.returns]
        made = None if any(aliases) else tree_map(_placed, result)
        if Graph.captured:
            Graph.captured.record(operation, arguments, options, made)
        if any(alias and alias.is_write for alias in aliases):
            # In place: the very object that was given.
            given = dict(zip((a.name for a in schema.arguments), arguments, strict=False)) | options
            written = [
                given[a.name]
                for a in schema.arguments
                if a.alias_info and a.alias_info.is_write and a.name in given
            ]
            return written[0] if len(written) == 1 else tuple(written)
        return tree_map(_placed, result) if made is None else made


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
            made = OnGpu(function(first.held, *arguments[1:], **options))
            if Graph.captured:
                Graph.captured.record(function, arguments, options, made)
            return made
        if _is_cuda(options.get("device")):
            if Graph.captured and name in FROM_THE_CPU:
                raise RefusedByCuda(f"{name}: not permitted while a graph is captured")
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
            if Graph.captured:
                raise RefusedByCuda(f"{name}: not permitted while a graph is captured")
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

    group, usual = torch.optim.Optimizer._group_tensors_by_device_and_dtype, Stream()

    def grouped(lists: list[list[Tensor]], with_indices: bool = False) -> dict:
        # In C++ it asks the wrappers where they lie.
        device = lists[0][0].device
        return {(device, kind): x for (_, kind), x in group(lists, with_indices).items()}

    Graph.replays = 0
    with (
        mock.patch.object(
            torch.optim.Optimizer, "_group_tensors_by_device_and_dtype", staticmethod(grouped)
        ),
        mock.patch.object(torch, "autocast", autocast),
        mock.patch.multiple(
            torch.cuda,
            get_rng_state=lambda device=CUDA: torch.zeros(STATE_BYTES, dtype=torch.uint8),
            set_rng_state=set_rng_state,
            synchronize=lambda device=None: None,
            get_device_name=lambda device=None: NAME,
            get_device_capability=lambda device=None: (9, 0),
            is_available=lambda: True,
            CUDAGraph=Graph,
            graph=lambda graph: graph.capture(),
            Stream=Stream,
            current_stream=lambda: usual,
            stream=lambda stream: nullcontext(),
        ),
    ):
        # Else Module.to writes into the parameters that are there, which lie on the CPU.
        torch.__future__.set_overwrite_module_params_on_conversion(True)
        try:
            with _Requests():
                yield
        finally:
            torch.__future__.set_overwrite_module_params_on_conversion(False)


def _placed(x: Any) -> Any:
    return OnGpu(x) if isinstance(x, Tensor) else x


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
        _check_fused(operation, arguments, options)
    if Graph.captured and (name in WAITS or elsewhere):
        raise RefusedByCuda(f"{operation}: not permitted while a graph is captured")


def _check_fused(operation, arguments: tuple, options: dict[str, Any]) -> None:
    """What CUDA's fused kernels insist on: their fast path (torch's ForeachUtils.h) is their only
    one."""
    named = dict(zip((a.name for a in operation._schema.arguments), arguments, strict=False))
    steps = named.pop("state_steps", ())
    numbers = [x for x in (*steps, options.get("lr")) if isinstance(x, Tensor)]
    if any(x.dtype != torch.float32 for x in numbers):
        raise RefusedByCuda(f"{operation}: steps and learning rate must be float32")
    lists = [x for x in named.values() if isinstance(x, list | tuple) and x]
    for alike in zip(*lists, strict=True):
        if len({(x.dtype, x.shape, _layout(x)) for x in alike}) > 1:
            raise RefusedByCuda(f"{operation}: types, sizes or strides differ: {alike}")
        if not all(torch.ops.aten.is_non_overlapping_and_dense(x.held) for x in alike):
            raise RefusedByCuda(f"{operation}: a tensor overlaps or has gaps")


def _layout(tensor: Tensor) -> tuple[tuple[int, int], ...]:
    """Sizes and strides, where a stride matters."""
    return tuple(p for p in zip(tensor.shape, tensor.stride(), strict=True) if p[0] != 1)
