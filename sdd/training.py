"""The one training loop, and evaluation."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from sdd import augment
from sdd.errors import Divergence
from sdd.optimizer import Optimizer
from sdd.pruning import Masks
from sdd.settings import Recipe

EVALUATION_BATCH = 1024


@dataclass(frozen=True)
class Samples:
    """Images that live on the device, ready for the model's precision and layout.

    Without augmentation they are normalised once, so that a batch is a mere row selection. With
    it, on the CPU, they stay what they are, rows of the data set's one mapped file.
    """

    images: Tensor  # [N, channels, height, width]: float when normalised, else uint8
    mean: Tensor  # [channels, 1, 1], of pixels in [0, 1]
    std: Tensor
    rows: Tensor | None = None  # [n] int64: which of the images are the samples; None: all of them

    @classmethod
    def place(
        cls,
        images: NDArray,
        index: NDArray | None,
        facts: dict[str, Any],
        *,
        device: torch.device,
        normalised: bool,
    ) -> "Samples":
        """The uint8 `images` at `index`, all of them if None, of a data set with these facts."""
        mean, std = (torch.tensor(facts[v], device=device).view(-1, 1, 1) for v in ("mean", "std"))
        if device.type == "cpu" and not normalised:
            rows = None if index is None else torch.from_numpy(index)
            return cls(torch.from_numpy(images), mean, std, rows)
        chosen = torch.from_numpy(images if index is None else images[index])
        samples = cls(chosen.to(device), mean, std)
        if not normalised:
            return samples
        return cls(samples.normalise(samples.images), mean, std)

    def __len__(self) -> int:
        return len(self.images if self.rows is None else self.rows)

    def take(self, index: Tensor) -> Tensor:
        """The samples at `index` [b], as they are stored: [b, channels, height, width]."""
        # Row by row: indexing looks up every pixel, and takes five times as long.
        return self.images.index_select(0, index if self.rows is None else self.rows[index])

    def normalise(self, pixels: Tensor) -> Tensor:
        """From uint8 pixels to zero-mean floats; normalised images pass through."""
        if pixels.is_floating_point():
            return pixels
        return (pixels.float() / 255 - self.mean) / self.std

    def batches(self) -> Iterator[Tensor]:
        """All samples in order, as they are stored, in batches for evaluation."""
        for index in torch.arange(len(self), device=self.images.device).split(EVALUATION_BATCH):
            yield self.take(index)


@dataclass(frozen=True)
class Batch:
    """What a step is trained on: which images, under which outcome of the augmentation."""

    index: Tensor  # [b] int64, into the samples
    outcomes: Tensor | None  # [b] int64, see sdd.augment; None without augmentation
    inputs: Tensor  # [b, channels, height, width], normalised


# The loss of a batch, from the model's logits [b, classes] on it.
Objective = Callable[[Tensor, Batch], Tensor]


@dataclass(frozen=True)
class Epoch:
    """What one epoch of training looked like, on the batches as they were trained."""

    epoch: int
    learning_rate: float
    loss: float
    accuracy: float  # percent, on the noisy labels
    clean_accuracy: float  # percent, the same predictions against the true labels


@dataclass(frozen=True)
class State:
    """A training between two epochs: all that the rest of it depends on."""

    history: tuple[Epoch, ...]
    tensors: dict[str, Tensor]  # weights, buffers, optimizer and random generators; copies


def cross_entropy(labels: Tensor) -> Objective:
    """The plain objective: cross-entropy with the noisy `labels` [n]."""
    return lambda logits, batch: F.cross_entropy(logits, labels.index_select(0, batch.index))


def train(
    model: nn.Module,
    masks: Masks,
    samples: Samples,
    labels: Tensor,
    true_labels: Tensor,
    recipe: Recipe,
    objective: Objective,
    *,
    generator: torch.Generator,
    report: Callable[[Epoch], None],
    start: State | None = None,
    keep: Callable[[State], None] | None = None,
) -> tuple[Epoch, ...]:
    """Trains `model` in place by `recipe`; weights that `masks` prunes stay exactly zero.

    `labels` and `true_labels` [n] are the noisy and the true ones of `samples`. All randomness but
    dropout's comes from `generator`, on the CPU, so that batches do not depend on the device.
    `report` is called after every epoch, and `keep` with the state between two; a training that
    gets such a state as `start` goes on from there, and ends with the same bits on the CPU.
    Returns all epochs. Raises Divergence when the loss is not finite.
    """
    parameters = dict(model.named_parameters())
    # A pruned weight is zero, and with no gradient neither momentum nor decay moves it.
    pruned = [
        # As numbers: a product with booleans is converted in every step, and takes twice as long.
        (parameters[name], mask.to(parameters[name].dtype))
        for name, mask in masks.items()
        if not mask.all()
    ]
    trained = list(model.parameters())
    optimizer = Optimizer(trained, recipe)
    history: tuple[Epoch, ...] = ()
    if start:
        _restore(start.tensors, model, optimizer, generator)
        history = start.history
    model.train()
    for epoch in range(len(history), recipe.epochs):
        rate = recipe.learning_rate_at(epoch)
        losses, answers, seen = [], [], []
        for batch in _epoch(samples, recipe, generator):
            logits = forward(model, batch.inputs, recipe)
            loss = objective(logits, batch)
            for parameter in trained:
                parameter.grad = None
            loss.backward()
            for weight, kept in pruned:
                weight.grad.mul_(kept)
            optimizer.step(rate)
            losses.append(loss.detach() * len(batch.index))
            answers.append(logits.detach())
            seen.append(batch.index)
        # Read once an epoch: a step waits for nothing, and pays for no statistics.
        order, predicted = torch.cat(seen), torch.cat(answers).argmax(1)
        total = torch.stack(losses).double().sum().item() / len(samples)
        correct = (predicted == labels[order]).double().mean().item()
        clean = (predicted == true_labels[order]).double().mean().item()
        if not math.isfinite(total):
            raise Divergence(
                f"the loss is {total} in epoch {epoch} at learning rate {rate:g}. "
                "Lower the recipe's learning_rate or its weight_decay."
            )
        history += (Epoch(epoch, rate, total, 100 * correct, 100 * clean),)
        report(history[-1])
        if keep:
            keep(State(history, _copies(model, optimizer, generator)))
    for weight, kept in pruned:
        assert not weight[kept == 0].any(), "a pruned weight has moved"
    return history


def _in_place(model: nn.Module, optimizer: Optimizer) -> dict[str, Tensor]:
    """The tensors that training changes, themselves."""
    return {
        **{f"model.{name}": tensor for name, tensor in model.state_dict().items()},
        **{f"optimizer.{n}": tensor for n, tensor in enumerate(optimizer.tensors())},
    }


def _copies(
    model: nn.Module, optimizer: Optimizer, generator: torch.Generator
) -> dict[str, Tensor]:
    copies = {name: tensor.clone() for name, tensor in _in_place(model, optimizer).items()}
    # Dropout draws from the global generators.
    copies |= {"random.batches": generator.get_state(), "random.cpu": torch.get_rng_state()}
    device = next(model.parameters()).device
    if device.type == "cuda":
        copies["random.cuda"] = torch.cuda.get_rng_state(device)
    return copies


def _restore(
    tensors: dict[str, Tensor], model: nn.Module, optimizer: Optimizer, generator: torch.Generator
) -> None:
    for name, tensor in _in_place(model, optimizer).items():
        tensor.copy_(tensors[name])
    generator.set_state(tensors["random.batches"])
    torch.set_rng_state(tensors["random.cpu"])
    device = next(model.parameters()).device
    if device.type == "cuda":
        torch.cuda.set_rng_state(tensors["random.cuda"], device)


def _epoch(samples: Samples, recipe: Recipe, generator: torch.Generator) -> Iterator[Batch]:
    """All samples once, in random order, each with an augmentation of its own."""
    device = samples.images.device
    order = torch.randperm(len(samples), generator=generator).to(device)
    if recipe.augmentation == "none":
        for index in order.split(recipe.batch_size):
            yield Batch(index, None, samples.normalise(samples.take(index)))
        return
    drawn = augment.draw(len(samples), generator).to(device)
    size = recipe.batch_size
    for index, outcomes in zip(order.split(size), drawn.split(size), strict=True):
        images = augment.flip_and_crop(samples.take(index), outcomes)
        yield Batch(index, outcomes, samples.normalise(images))


def forward(model: nn.Module, inputs: Tensor, recipe: Recipe) -> Tensor:
    """Logits of normalised images in the recipe's precision, but never less than float32."""
    if recipe.channels_last:
        inputs = inputs.contiguous(memory_format=torch.channels_last)
    if recipe.precision == "bfloat16":
        with torch.autocast(inputs.device.type, torch.bfloat16):
            return model(inputs).float()
    return model(inputs)


@torch.no_grad()
def predict(model: nn.Module, samples: Samples, recipe: Recipe) -> Tensor:
    """Logits [n, classes] of all samples in order, in evaluation mode and without augmentation."""
    model.eval()
    return torch.cat(
        [forward(model, samples.normalise(images), recipe) for images in samples.batches()]
    )


def score(logits: Tensor, labels: Tensor) -> dict[str, float]:
    """Accuracy in percent and mean cross-entropy of `logits` [n, classes] on `labels` [n]."""
    return {
        "accuracy": 100 * (logits.argmax(1) == labels).double().mean().item(),
        "loss": F.cross_entropy(logits.double(), labels).item(),
    }
