"""What networks answer to a test set, and whether that is the same."""

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sdd.base.errors import DeploymentError
from sdd.base.seeds import derive_seed
from sdd.data.arrays import read_dataset
from sdd.data.facts import DatasetFacts
from sdd.data.labels import read_labels
from sdd.deployment.runtimes import Run
from sdd.training.samples import Samples


@dataclass(frozen=True)
class Images:
    """The test set, and training images to calibrate with."""

    test: Samples  # raw, on the device on which networks are compared
    labels: Tensor  # [n] int64, on the CPU
    calibration: NDArray  # normalised float32 [n, channels, height, width]

    @classmethod
    def read(
        cls,
        dataset: Path,
        labels: Path,
        facts: DatasetFacts,
        device: torch.device,
        *,
        calibration: int,
        seed: int,
    ) -> "Images":
        """Of so many images for `calibration`, drawn by the `seed`."""
        arrays, index = read_dataset(dataset), read_labels(labels).train_index
        draw = np.random.default_rng(derive_seed(seed, "calibration"))
        chosen = np.sort(draw.choice(index, min(calibration, len(index)), replace=False))

        def place(images: NDArray, index: NDArray | None, device: torch.device) -> Samples:
            return Samples.place(images, index, facts, device=device, normalised=False)

        return cls(
            place(arrays["test_images"], None, device),
            torch.from_numpy(arrays["test_labels"].astype(np.int64)),
            np.concatenate(
                list(_normalised(place(arrays["train_images"], chosen, torch.device("cpu"))))
            ),
        )

    def for_runtimes(self) -> Iterator[NDArray]:
        """The test set in batches, as a runtime takes it."""
        return _normalised(self.test)

    @torch.no_grad()
    def logits(self, network: nn.Module) -> Tensor:
        """[n, classes] of the test set in double precision, on the CPU; `network` stays as it is.

        In single precision the order of sums alone would make a difference.
        """
        double = copy.deepcopy(network).to(self.test.images.device, torch.float64).eval()
        batches = (self.test.normalise(images).double() for images in self.test.batches())
        return torch.cat([double(batch).cpu() for batch in batches])

    def logits_of(self, run: Run) -> Tensor:
        """The same from a runtime, in its own precision."""
        return torch.from_numpy(np.concatenate([run(images) for images in self.for_runtimes()]))

    def accuracy(self, logits: Tensor) -> float:
        """Percent."""
        return _share(logits.argmax(1) == self.labels)


def _normalised(samples: Samples) -> Iterator[NDArray]:
    return (samples.normalise(images).cpu().numpy() for images in samples.batches())


def agreement(logits: Tensor, others: Tensor) -> float:
    """On how many images, in percent, both give the same class."""
    return _share(logits.argmax(1) == others.argmax(1))


def _share(same: Tensor) -> float:
    return 100 * same.double().mean().item()


def difference(logits: Tensor, right: Tensor, allowed: float, what: str) -> float:
    """The largest one. Raises DeploymentError where it is more than `allowed`, of a network with
    logits above 1 more than as large a part of its largest: numbers of 32 bits hold no more."""
    found = (logits - right).abs().max().item()
    bound = allowed * max(1.0, right.abs().max().item())
    if not found <= bound:
        raise DeploymentError(
            f"{what} does not answer as the masked network: on the test set their logits differ by "
            f"up to {found:.3g}, and {bound:.3g} is allowed. The fault is the program's or a "
            "library's; the round is as it was."
        )
    return found
