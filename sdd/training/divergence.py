"""What left the finite numbers first, in an epoch that went wrong, and what may help.

A training looks at its numbers once an epoch, since a step that waited to see its loss would take
longer. Where they are not finite, the epoch is taken again from the state before it, and this time
every step says what it makes.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from sdd.base.errors import Divergence
from sdd.study.settings import Recipe
from sdd.training.evaluation import forward
from sdd.training.samples import Samples, epoch_of
from sdd.training.step import Step


@dataclass(frozen=True)
class Repeated:
    """An epoch that went wrong, ready to be taken again: model, optimizer and generators are as
    they were before it."""

    step: Step
    samples: Samples
    generator: torch.Generator

    def culprit(self, epoch: int) -> str:
        """What was the first that is not finite, and in which step."""
        model, recipe = self.step.model, self.step.recipe
        if started := _first_of(_made(model)):
            return f"{started}, which the epoch starts from"
        self.step.optimizer.set_learning_rate(recipe.learning_rate_at(epoch))
        losses: list[float] = []
        for number, batch in enumerate(epoch_of(self.samples, recipe, self.generator), 1):
            where = f"in step {number}{_since(losses)}"
            if not batch.inputs.isfinite().all():
                return f"the images {where}: look at the data set"
            with _watched(model) as layers:
                logits = forward(model, batch.inputs, recipe)
            if not logits.isfinite().all():
                return f"the output of {next(iter(layers), 'the network')} {where}"
            loss = self.step.objective(logits, batch)
            losses.append(loss.item())
            if not loss.isfinite():
                return (
                    f"the loss {where}, of outputs that are, {logits.abs().max().item():.3g} at "
                    "most: what they are compared with is not, such as a teacher's logits"
                )
            self.step.backward(loss)
            gradients = {name: p.grad for name, p in self.step.parameters.items()}
            # Backwards, as they are computed: the first in the model has all others' faults in it.
            if layer := _first_of(reversed(gradients.items())):
                return f"the gradient of {layer} {where}"
            self.step.update()
            if layer := _first_of(_made(model)):
                return f"{layer} after step {number}{_since(losses)}"
        return "none, when the epoch was taken again: it does not give the same numbers each time"


def divergence(repeated: Repeated, epoch: int, loss: float) -> Divergence:
    """The error for an epoch in which the `loss`, or what it left, is not finite."""
    rate = repeated.step.recipe.learning_rate_at(epoch)
    return Divergence(
        f"the loss is {loss:.6g} in epoch {epoch} at learning rate {rate:g}. The first that is not "
        f"finite: {repeated.culprit(epoch)}. {what_may_help(repeated.step.recipe)}"
    )


def finite(model: nn.Module) -> bool:
    """Whether all of the model's weights and statistics are."""
    return _first_of(_made(model)) is None


def what_may_help(recipe: Recipe) -> str:
    """What there is to change about a recipe that diverges."""
    changes = [
        f"a lower learning_rate than {recipe.learning_rate:g}",
        f"a larger batch_size than {recipe.batch_size}",
    ]
    if recipe.weight_decay:
        changes.append(f"a lower weight_decay than {recipe.weight_decay:g}")
    if recipe.optimizer == "sgd" and recipe.momentum:
        changes.append(f"less momentum than {recipe.momentum:g}")
    if recipe.precision != "float32":
        changes.append(f"float32 instead of the precision {recipe.precision}")
    return f"What may help, in the model's recipe: {', '.join(changes)}; or another optimizer."


def _first_of(tensors: Iterable[tuple[str, Tensor | None]]) -> str | None:
    """The name of the first that is not finite."""
    return next((name for name, t in tensors if t is not None and not t.isfinite().all()), None)


def _made(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """What training makes: weights and running statistics. Other buffers are the model's own, and
    may be infinite, as a mask of attention is."""
    yield from model.named_parameters()
    yield from ((name, t) for name, t in model.named_buffers() if ".running_" in f".{name}")


def _since(losses: Sequence[float]) -> str:
    """How the loss went until then: one that grew says that steps were too long."""
    if not losses:
        return ""
    return f" (the loss was {losses[0]:.3g} in step 1, {losses[-1]:.3g} in step {len(losses)})"


@contextmanager
def _watched(model: nn.Module) -> Iterator[list[str]]:
    """The layers, in the order of their passes, whose outputs in the block are not finite."""
    found: list[str] = []

    def watch(name: str) -> Callable[[nn.Module, object, object], None]:
        def look(layer: nn.Module, inputs: object, output: object) -> None:
            if isinstance(output, Tensor) and not output.isfinite().all():
                found.append(name)

        return look

    layers = [(name, layer) for name, layer in model.named_modules() if not [*layer.children()]]
    hooks = [layer.register_forward_hook(watch(name)) for name, layer in layers]
    try:
        yield found
    finally:
        for hook in hooks:
            hook.remove()
