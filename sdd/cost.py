"""What a training costs in multiply-accumulates (MAC) and FLOPs.

Two counts stand side by side: the paper's dense rule, and what is really computed.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.flop_counter import FlopCounterMode


@dataclass(frozen=True)
class Cost:
    """MACs an image: one forward pass, and one training step (forward and backward).

    Convolutions, linear layers and attention products count, nothing else.
    """

    forward_macs: int
    step_macs: int


def count(model: nn.Module, shape: tuple[int, int, int]) -> Cost:
    """Counted on the meta device, where `model` is moved, on a batch of two images of `shape`.

    The step's backward pass is counted as autograd runs it: the first layer needs no gradient of
    its input, so that it is below the rule's two forward passes.
    """
    model.to("meta").train()
    images = torch.empty(2, *shape, device="meta")
    labels = torch.empty(2, dtype=torch.long, device="meta")
    with FlopCounterMode(display=False) as forward, torch.no_grad():
        model(images)
    with FlopCounterMode(display=False) as step:
        F.cross_entropy(model(images), labels).backward()
    # The counter takes a MAC for two operations, and the batch is two images.
    return Cost(forward.get_total_flops() // 4, step.get_total_flops() // 4)


def training_flops(macs: int, images: int, epochs: int) -> int:
    """The paper's rule for one training: forward 1, backward 2, a MAC counted as one FLOP.

    Dense in every round, whatever is pruned; the evaluation and the teacher are not in it.
    """
    return epochs * images * 3 * macs
