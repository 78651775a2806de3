"""One step of a training, as it is and as a CUDA graph.

Nothing in a step waits for the device, and what it changes keeps its place in memory: weights,
statistics, the optimizer's state and its learning rate. So it can be captured: recorded once, and
launched whole after that. No study asks for it before it was measured on a GPU.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from sdd.base.errors import StudyError
from sdd.models.build import unreached
from sdd.sparsity.masks import Masks, PrunedWeights
from sdd.study.settings import Recipe
from sdd.training.evaluation import forward
from sdd.training.optimizer import Optimizer
from sdd.training.samples import Batch

# The loss of a batch, from the model's logits [b, classes] on it.
Objective = Callable[[Tensor, Batch], Tensor]

WARM_UP = 3  # steps before a capture: libraries choose their kernels and take their memory in them


class Step:
    """Trains `model` in place on a batch; weights that `masks` prunes stay exactly zero."""

    def __init__(self, model: nn.Module, masks: Masks, recipe: Recipe, objective: Objective):
        self.model, self.recipe, self.objective = model, recipe, objective
        self.parameters = dict(model.named_parameters())
        self.pruned = PrunedWeights(model, masks)
        self.optimizer = Optimizer(list(self.parameters.values()), recipe)

    def __call__(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """The batch's loss, and its logits [b, classes]."""
        logits = forward(self.model, batch.inputs, self.recipe)
        loss = self.objective(logits, batch)
        self.backward(loss)
        self.update()
        return loss.detach(), logits.detach()

    def backward(self, loss: Tensor) -> None:
        for parameter in self.parameters.values():
            parameter.grad = None
        loss.backward()
        if wrong := unreached(self.parameters):
            raise StudyError(f"the model {wrong}.")

    def update(self) -> None:
        """By the gradients, and at the optimizer's learning rate."""
        self.pruned.clear_gradients()
        self.optimizer.step()


class CapturedStep:
    """`step` as a CUDA graph, for batches of `size` images; a smaller one, an epoch's last, is
    taken operation by operation, and so are the first ones.

    Raises ValueError for a model whose steps are not alike: where a batch norm averages over all
    its batches, each counts less than the one before.
    """

    def __init__(self, step: Step, size: int) -> None:
        self._step, self._size, self._to_warm_up = step, size, WARM_UP
        self._graph: torch.cuda.CUDAGraph | None = None
        norms = [layer for layer in step.model.modules() if isinstance(layer, _BatchNorm)]
        if any(norm.momentum is None and norm.track_running_stats for norm in norms):
            raise ValueError("a batch norm without a momentum of its own cannot be captured")
        # How many batches they have seen is counted on the CPU, and so not by a graph.
        counters = (norm.num_batches_tracked for norm in norms)
        self._counters = [counter for counter in counters if counter is not None]

    def __call__(self, batch: Batch) -> tuple[Tensor, Tensor]:
        if len(batch.index) != self._size:
            return self._step(batch)
        if self._to_warm_up:
            self._to_warm_up -= 1
            return self._aside(batch)
        if self._graph is None:
            self._capture(batch)
        else:
            self._batch.become(batch)
            for counter, rise in zip(self._counters, self._rises, strict=True):
                counter += rise
        self._graph.replay()
        loss, logits = self._made
        return loss.clone(), logits.clone()  # the next step's take their place

    def _aside(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """On another stream than the usual one, as a capture is."""
        stream, usual = torch.cuda.Stream(), torch.cuda.current_stream()
        stream.wait_stream(usual)
        with torch.cuda.stream(stream):
            made = self._step(batch)
        usual.wait_stream(stream)
        return made

    def _capture(self, batch: Batch) -> None:
        """Records a step on `batch`, whose place the next ones take. The GPU does nothing yet; on
        the CPU it is counted."""
        self._batch = batch.copy()
        before = [counter.clone() for counter in self._counters]
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            self._made = self._step(self._batch)
        pairs = zip(self._counters, before, strict=True)
        self._rises = [counter - count for counter, count in pairs]
