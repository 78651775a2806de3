"""What a training costs in multiply-accumulates (MAC) and FLOPs.

Two counts stand side by side: the paper's dense rule, and what is really computed.
"""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from sdd.study.metrics import Macs


def count(model: nn.Module, shape: tuple[int, int, int]) -> Macs:
    """Counted on a step of `model`, which is on the CPU, with two images of `shape`.

    The step's backward pass is counted as autograd runs it: the first layer needs no gradient of
    its input, so that it is below the rule's two forward passes. Leaves gradients in the model.
    """
    images, labels = torch.zeros(2, *shape), torch.zeros(2, dtype=torch.long)
    # Attention as plain products: torch has no formula for the CPU's fused ones.
    with sdpa_kernel(SDPBackend.MATH), FlopCounter() as forward:
        logits = model.eval()(images)  # neither statistics nor dropout
    with FlopCounter() as backward:
        F.cross_entropy(logits, labels).backward()
    # torch takes a MAC for two operations, and the batch is two images.
    return Macs(forward.total // 4, (forward.total + backward.total) // 4)


class FlopCounter(TorchDispatchMode):
    """The FLOPs of all operations inside, by torch's own formulas.

    torch's FlopCounterMode and the meta device both import torch's compiler when they are used.
    That takes a second, and a round is a process of its own.
    """

    def __init__(self) -> None:
        super().__init__()
        self.total = 0

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # "skip" is what imports the compiler

    def __torch_dispatch__(
        self, operation: Any, types: Any, args: tuple = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = operation(*args, **(kwargs or {}))
        formula: Callable[..., int] | None = flop_registry.get(operation.overloadpacket)
        if formula:
            self.total += formula(*args, **(kwargs or {}), out_val=result)
        return result


def training_flops(macs: int, images: int, epochs: int) -> int:
    """The paper's rule for one training: forward 1, backward 2, a MAC counted as one FLOP.

    Dense in every round, whatever is pruned; the evaluation and the teacher are not in it.
    """
    return epochs * images * 3 * macs
