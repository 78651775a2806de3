"""SGD and AdamW, by torch's own fused kernels.

The classes of torch.optim import torch's compiler when they are built, which takes 0.9 s, and every
round is a process of its own. Their functional forms do the same arithmetic without it.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.optim.adamw import adamw
from torch.optim.sgd import sgd

from sdd.study.settings import Recipe


class Optimizer:
    """Steps `parameters` by the recipe; weight decay applies to all of them.

    For SGD it is l2 (added to the gradient), for AdamW it is decoupled, with torch's defaults for
    beta1, beta2 and epsilon. The learning rate is a number on the device, so that a captured step
    takes whatever it is then.
    """

    def __init__(self, parameters: Sequence[nn.Parameter], recipe: Recipe) -> None:
        self._parameters = list(parameters)
        self._recipe = recipe
        device = self._parameters[0].device
        # CUDA's kernels want single precision; the CPU's round as with a number of Python's.
        dtype = torch.float64 if device.type == "cpu" else torch.float32
        self._learning_rate = torch.zeros((), dtype=dtype, device=device)
        if recipe.optimizer == "adamw":
            self._means = [torch.zeros_like(p) for p in self._parameters]
            self._squares = [torch.zeros_like(p) for p in self._parameters]
            self._steps = [torch.zeros((), device=p.device) for p in self._parameters]
        else:
            self._momenta = [torch.zeros_like(p) for p in self._parameters]

    def tensors(self) -> list[Tensor]:
        """Its whole state, in place: momenta, or AdamW's moments and steps."""
        if self._recipe.optimizer == "adamw":
            return [*self._means, *self._squares, *self._steps]
        return self._momenta

    def set_learning_rate(self, value: float) -> None:
        """For all steps until it is set again."""
        self._learning_rate.fill_(value)

    @torch.no_grad()
    def step(self) -> None:
        gradients: list[Tensor] = [p.grad for p in self._parameters]
        decay = self._recipe.weight_decay
        if self._recipe.optimizer == "adamw":
            adamw(
                self._parameters, gradients, self._means, self._squares, [], self._steps,
                fused=True, foreach=False, amsgrad=False, maximize=False,
                beta1=0.9, beta2=0.999, eps=1e-8, lr=self._learning_rate, weight_decay=decay,
            )  # fmt: skip
        else:
            momentum = self._recipe.momentum
            sgd(
                self._parameters, gradients, self._momenta if momentum else [None] * len(gradients),
                fused=True, foreach=False, nesterov=self._recipe.nesterov, maximize=False,
                has_sparse_grad=False, momentum=momentum, dampening=0, lr=self._learning_rate,
                weight_decay=decay,
            )  # fmt: skip
