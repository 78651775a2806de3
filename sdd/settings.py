"""What a training depends on: frozen settings that travel between jobs as plain dictionaries.

Imports nothing heavy: the study, every job and every test share these.
"""

import hashlib
import json
import math
from dataclasses import dataclass, fields
from typing import Any

WIDEST_LAYER = 2**13  # channels; a VGG's "gamma" meant as a width would ask for billions

# Augmentation flips an image or not, pads it by so many zeros, and crops it at an offset an axis.
PADDING = 4  # pixels
OFFSETS = 2 * PADDING + 1
FLIP_CROPS = 2 * OFFSETS**2
OUTCOMES = {"none": 1, "flip-crop": FLIP_CROPS}  # in how many ways an augmentation may turn out


def canonical(value: Any) -> str:
    """Canonical JSON: the same settings always give the same text."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def derive_seed(seed: int, *purpose: str | int) -> int:
    """A 63-bit seed for one purpose, independent of every other purpose of the same `seed`."""
    text = "/".join(map(str, (seed, *purpose)))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


@dataclass(frozen=True)
class Noise:
    """How training labels are corrupted: a proportion `rate` of them, in [0, 1), by a rule.

    Human noise has no rate to set; `labels` names which of the people's labels are taken.
    """

    kind: str
    rate: float = 0.0
    labels: str | None = None

    @property
    def name(self) -> str:
        if self.kind == "human":
            return f"human-{self.labels}"
        return "clean" if self.kind == "clean" else f"{self.kind}-{self.rate:g}"


@dataclass(frozen=True)
class Recipe:
    """How one round is trained: optimizer, schedule, epochs, batch, augmentation.

    `weight_decay` is the paper's lambda: coupled l2 for SGD, decoupled for AdamW.
    """

    optimizer: str
    learning_rate: float
    weight_decay: float
    batch_size: int
    epochs: int
    schedule: str
    momentum: float = 0.0
    milestones: tuple[int, ...] = ()
    factor: float = 0.1
    augmentation: str = "none"
    precision: str = "float32"
    channels_last: bool = False

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Recipe":
        """Numbers become floats where they are meant as such: 1 and 1.0 are one recipe."""
        floats = {f.name for f in fields(cls) if f.type is float}
        values = {k: float(v) if k in floats else v for k, v in values.items()}
        return cls(**values | {"milestones": tuple(values.get("milestones", ()))})

    def to_dict(self) -> dict[str, Any]:
        return vars(self) | {"milestones": list(self.milestones)}

    def learning_rate_at(self, epoch: int) -> float:
        """The learning rate of `epoch` (from 0); every round starts again at epoch 0."""
        if self.schedule == "multistep":
            return self.learning_rate * self.factor ** sum(epoch >= m for m in self.milestones)
        if self.schedule == "cosine":
            return self.learning_rate * (1 + math.cos(math.pi * epoch / self.epochs)) / 2
        return self.learning_rate


@dataclass(frozen=True)
class Pruning:
    """Magnitude pruning: the `fraction` of the remaining weights that goes before each round."""

    fraction: float
    scope: str = "global"


@dataclass(frozen=True)
class Distillation:
    """Equation (1) of the paper: `alpha` weighs the teacher, `temperature` softens both."""

    alpha: float
    temperature: float


@dataclass(frozen=True)
class EarlyStopping:
    """Stop after `patience` rounds in a row more than `tolerance` points below the best."""

    patience: int
    tolerance: float
