"""Photographs of CIFAR's shape, and how a model is trained on them.

The pixels are random: the time does not depend on them.
"""

import numpy as np
import torch
from torch import nn

from sdd.data.facts import DatasetFacts
from sdd.models import build as models
from sdd.study.settings import Recipe
from sdd.training.samples import Samples

SHAPE = (3, 32, 32)
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
FACTS = DatasetFacts("photographs", "random", 10, SHAPE, 0, 0, MEAN, STD, {}, 0, "")
RECIPE = Recipe("sgd", 0.01, 1e-4, 128, 1, "constant", momentum=0.9, augmentation="flip-crop")


def make(count: int) -> np.ndarray:
    return np.random.default_rng(0).integers(256, size=(count, *SHAPE), dtype=np.uint8)


def place(
    images: np.ndarray, *, device: torch.device | None = None, normalised: bool = False
) -> Samples:
    """On the CPU if no device is given."""
    device = device or torch.device("cpu")
    return Samples.place(images, None, FACTS, device=device, normalised=normalised)


def build(name: str, *, channels_last: bool = False) -> nn.Module:
    model = models.build(name, channels=3, size=32, classes=10, seed=1)
    return model.to(memory_format=torch.channels_last) if channels_last else model
