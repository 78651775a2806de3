"""The one training loop."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sdd.sparsity.masks import Masks
from sdd.study.metrics import Epoch
from sdd.study.settings import Recipe
from sdd.training.divergence import Repeated, divergence, finite
from sdd.training.samples import Samples, epoch_of
from sdd.training.step import CapturedStep, Objective, Step


@dataclass(frozen=True)
class State:
    """A training between two epochs: all that the rest of it depends on."""

    history: tuple[Epoch, ...]
    tensors: dict[str, Tensor]  # weights, buffers, optimizer and random generators; copies


def cross_entropy(labels: Tensor, smoothing: float = 0.0) -> Objective:
    """The plain objective: cross-entropy with the noisy `labels` [n], a share of them spread."""
    return lambda logits, batch: F.cross_entropy(
        logits, labels.index_select(0, batch.index), label_smoothing=smoothing
    )


def train(
    model: nn.Module,
    masks: Masks,
    samples: Samples,
    labels: Tensor,
    true_labels: Tensor | None,
    recipe: Recipe,
    objective: Objective,
    *,
    generator: torch.Generator,
    report: Callable[[Epoch], None],
    start: State | None = None,
    keep: Callable[[State], None] | None = None,
    stepped: Callable[[int], None] | None = None,
    captured: bool = False,
) -> tuple[Epoch, ...]:
    """Trains `model` in place by `recipe`; weights that `masks` prunes stay exactly zero.

    `labels` and `true_labels` [n] are the noisy and the true ones of `samples`; the latter may not
    be known. All randomness but
    dropout's comes from `generator`, on the CPU, so that batches do not depend on the device.
    `report` is called after every epoch, and `keep` with the state between two; a training that
    gets such a state as `start` goes on from there, and ends with the same bits on the CPU.
    `stepped` is called after every step, with how many there were. On CUDA steps may be `captured`.
    Returns all epochs. Raises Divergence, naming what left the finite numbers, when the loss, a
    weight or a statistic did.
    """
    step = Step(model, masks, recipe, objective)
    take = CapturedStep(step, recipe.batch_size) if captured else step
    history: tuple[Epoch, ...] = ()
    if start:
        _restore(start.tensors, step, generator)
        history = start.history
    model.train()
    state = State(history, _copies(step, generator))
    taken = len(history) * math.ceil(len(samples) / recipe.batch_size)
    for epoch in range(len(history), recipe.epochs):
        rate = recipe.learning_rate_at(epoch)
        step.optimizer.set_learning_rate(rate)
        losses, predictions, seen = [], [], []
        for batch in epoch_of(samples, recipe, generator):
            loss, logits = take(batch)
            taken += 1
            if stepped:
                stepped(taken)
            losses.append(loss * len(batch.index))
            predictions.append(logits)
            seen.append(batch.index)
        # Read once an epoch: a step waits for nothing, and pays for no statistics.
        order, predicted = torch.cat(seen), torch.cat(predictions).argmax(1)
        total = torch.stack(losses).double().sum().item() / len(samples)
        correct = (predicted == labels[order]).double().mean().item()
        clean = None
        if true_labels is not None:
            clean = 100 * (predicted == true_labels[order]).double().mean().item()
        # The weights too: what the last step did to them, no later loss of the epoch has seen.
        if not (math.isfinite(total) and finite(model)):
            _restore(state.tensors, step, generator)
            raise divergence(Repeated(step, samples, generator), epoch, total)
        history += (Epoch(epoch, rate, total, 100 * correct, clean),)
        report(history[-1])
        # Kept here too: from there an epoch that goes wrong is taken again, to see what did.
        state = State(history, _copies(step, generator))
        if keep:
            keep(state)
    assert not step.pruned.moved(), "a pruned weight has moved"
    return history


def _in_place(step: Step) -> dict[str, Tensor]:
    """The tensors that training changes, themselves."""
    return {
        **{f"model.{name}": tensor for name, tensor in step.model.state_dict().items()},
        **{f"optimizer.{n}": tensor for n, tensor in enumerate(step.optimizer.tensors())},
    }


def _copies(step: Step, generator: torch.Generator) -> dict[str, Tensor]:
    copies = {name: tensor.clone() for name, tensor in _in_place(step).items()}
    # Dropout draws from the global generators.
    copies |= {"random.batches": generator.get_state(), "random.cpu": torch.get_rng_state()}
    device = next(step.model.parameters()).device
    if device.type == "cuda":
        copies["random.cuda"] = torch.cuda.get_rng_state(device)
    return copies


def _restore(tensors: dict[str, Tensor], step: Step, generator: torch.Generator) -> None:
    for name, tensor in _in_place(step).items():
        tensor.copy_(tensors[name])
    generator.set_state(tensors["random.batches"])
    torch.set_rng_state(tensors["random.cpu"])
    device = next(step.model.parameters()).device
    if device.type == "cuda":
        torch.cuda.set_rng_state(tensors["random.cuda"], device)
