"""The images of a training, on its device, and the batches that an epoch makes of them."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from numpy.typing import NDArray
from torch import Tensor

from sdd.data.facts import DatasetFacts
from sdd.study.settings import Recipe
from sdd.training import augmentation

EVALUATION_BATCH = 1024
AHEAD = 8192  # images that are augmented at once on a GPU


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
        facts: DatasetFacts,
        *,
        device: torch.device,
        normalised: bool,
    ) -> "Samples":
        """The uint8 `images` at `index`, all of them if None, of a data set with these facts."""
        mean, std = (
            torch.tensor(value, device=device).view(-1, 1, 1) for value in (facts.mean, facts.std)
        )
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
    outcomes: Tensor | None  # [b] int64, see sdd.training.augmentation; None without augmentation
    inputs: Tensor  # [b, channels, height, width], normalised

    def copy(self) -> "Batch":
        """In memory of its own."""
        outcomes = None if self.outcomes is None else self.outcomes.clone()
        return Batch(self.index.clone(), outcomes, self.inputs.clone())

    def become(self, other: "Batch") -> None:
        """Takes on what `other`, of the same size, holds; its tensors stay where they lie."""
        self.index.copy_(other.index)
        if self.outcomes is not None:
            self.outcomes.copy_(other.outcomes)
        self.inputs.copy_(other.inputs)


def epoch_of(samples: Samples, recipe: Recipe, generator: torch.Generator) -> Iterator[Batch]:
    """All samples once, in random order, each with an augmentation of its own."""
    device = samples.images.device
    order = torch.randperm(len(samples), generator=generator).to(device)
    if recipe.augmentation == "none":
        for index in order.split(recipe.batch_size):
            yield Batch(index, None, samples.normalise(samples.take(index)))
        return
    drawn = augmentation.draw(len(samples), generator).to(device)
    size = recipe.batch_size
    several = size * _batches_at_once(device, size)
    for index, outcomes in zip(order.split(several), drawn.split(several), strict=True):
        inputs = samples.normalise(augmentation.flip_and_crop(samples.take(index), outcomes))
        yield from map(Batch, index.split(size), outcomes.split(size), inputs.split(size))


def _batches_at_once(device: torch.device, size: int) -> int:
    """For how many batches of so many images one operation augments.

    On a GPU it takes as long for many as for one, its launch. On the CPU it takes longer for each
    image, twice as long for 2,048 as for 128: they no longer fit its caches.
    """
    return 1 if device.type == "cpu" else max(1, AHEAD // size)
