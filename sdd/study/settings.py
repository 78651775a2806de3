"""What a training depends on: frozen settings of a study's config and of the specs of its jobs.

Imports nothing heavy: the study, every job and every test share these.
"""

import math
from dataclasses import dataclass, fields, replace
from typing import Annotated, Any, Literal

from annotated_types import Ge, Gt, Le, Lt, MaxLen

from sdd.base.fields import STRICT, ProperShare, Share, WeightDecay, setting
from sdd.base.records import to_dict
from sdd.study.methods import CRITERIA, INITIALISATIONS

# Augmentation flips an image or not, pads it by so many zeros, and crops it at an offset an axis.
PADDING = 4  # pixels
OFFSETS = 2 * PADDING + 1
FLIP_CROPS = 2 * OFFSETS**2
OUTCOMES = {"none": 1, "flip-crop": FLIP_CROPS}  # in how many ways an augmentation may turn out


@dataclass(frozen=True)
class Passes:
    """How a network computes that is not trained here; a recipe says the same, and more."""

    precision: Literal["float32", "bfloat16"] = "float32"
    channels_last: bool = False


@dataclass(frozen=True)
class Recipe:
    """How one round is trained: optimizer, schedule, epochs, batch, augmentation, first weights."""

    __pydantic_config__ = STRICT

    optimizer: Literal["sgd", "adamw"] = setting(
        "sgd (weight decay is l2) or adamw (weight decay is decoupled)."
    )
    learning_rate: Annotated[float, Gt(0), Le(1000)] = setting(
        "Learning rate of the first epoch, above 0, at most 1,000."
    )
    weight_decay: WeightDecay = setting("The paper's lambda, 0 to 1,000.")
    batch_size: Annotated[int, Ge(1), Le(10**6)] = setting("Images a step, 1 to 1,000,000.")
    epochs: Annotated[int, Ge(1), Le(10**6)] = setting("Epochs of every round, 1 to 1,000,000.")
    schedule: Literal["multistep", "cosine", "constant"] = setting(
        "multistep (times factor at each milestone), cosine (to 0), or constant."
    )
    momentum: Annotated[float, Ge(0), Lt(1)] = setting(
        "Momentum of sgd, in [0, 1); adamw does not use it.", 0.0
    )
    milestones: tuple[Annotated[int, Ge(1), Le(10**6)], ...] = setting(
        "Epochs, from 1 to 1,000,000, at which a multistep schedule multiplies the learning rate "
        "by factor; each once.",
        (),
        uniqueItems=True,
    )
    factor: Annotated[float, Gt(0), Le(1)] = setting(
        "Factor of the multistep schedule, in (0, 1].", 0.1
    )
    augmentation: Literal["none", "flip-crop"] = setting(
        "none, or flip-crop (horizontal flip, then a random crop after padding by 4).", "none"
    )
    precision: Literal["float32", "bfloat16"] = setting(
        "float32, or bfloat16 (autocast; the weights stay float32).", "float32"
    )
    channels_last: bool | Literal["auto"] = setting(
        "Whether images and convolutions are laid out with channels last; auto: where it was "
        "measured faster, on this CPU, or on a GPU with bfloat16 (the metrics say which).",
        False,
    )
    initialisation: str = setting(
        f"What the first weights are drawn from: {', '.join(INITIALISATIONS)} (default: as torch "
        "does; kaiming-normal: convolutions from Kaiming's normal distribution, fan_out, ReLU; "
        "he2022: as He et al., linear layers too, fan_in, and batch norms' scales in [0, 1)).",
        "default",
        enum=list(INITIALISATIONS),
    )
    nesterov: bool = setting("Whether sgd's momentum is Nesterov's; adamw does not use it.", False)
    warmup: Annotated[int, Ge(0), Le(10**6)] = setting(
        "Epochs, 0 to 1,000,000, in which the learning rate rises evenly to the schedule's.",
        0,
    )
    label_smoothing: Annotated[float, Ge(0), Lt(1)] = setting(
        "Share of each label that is spread over all classes in the training loss, in [0, 1).", 0.0
    )

    @property
    def used(self) -> "Recipe":
        """The recipe without what its optimizer and schedule do not use: two that train alike are
        equal."""
        unused: dict[str, Any] = {
            f.name: f.default for f in fields(self) if f.name in self._unused()
        }
        return replace(self, **unused)

    def _unused(self) -> set[str]:
        names: set[str] = set() if self.optimizer == "sgd" else {"momentum", "nesterov"}
        return names if self.schedule == "multistep" else names | {"milestones", "factor"}

    def to_dict(self) -> dict[str, Any]:
        """Without what it does not use."""
        unused = self._unused()
        return {key: value for key, value in to_dict(self).items() if key not in unused}

    def learning_rate_at(self, epoch: int) -> float:
        """The learning rate of `epoch` (from 0); every round starts again at epoch 0."""
        rise = (epoch + 1) / (self.warmup + 1)
        return self._scheduled(epoch) * min(1.0, rise)

    def _scheduled(self, epoch: int) -> float:
        if self.schedule == "multistep":
            return self.learning_rate * self.factor ** sum(epoch >= m for m in self.milestones)
        if self.schedule == "cosine":
            return self.learning_rate * (1 + math.cos(math.pi * epoch / self.epochs)) / 2
        return self.learning_rate


PLACES = ("first", "last")  # what every model has among its layers that may be pruned


@dataclass(frozen=True)
class Pruning:
    """Which of the remaining weights go before each retraining."""

    fraction: ProperShare = setting(
        "Proportion of the remaining weights pruned in each round, in (0, 1).", 0.2
    )
    scope: Literal["global", "layer"] = setting(
        "Rank the weights of all layers together (global) or of each layer by itself (layer).",
        "global",
    )
    criterion: str = setting(
        f"What ranks the weights: {', '.join(CRITERIA)} (gradient: |weight x gradient of the loss| "
        "on a batch of training images).",
        "magnitude",
        enum=list(CRITERIA),
    )
    schedule: Literal["iterative", "one-shot"] = setting(
        "iterative (each round prunes the one before), or one-shot (each prunes the dense model, "
        "down to the sparsity that it would have).",
        "iterative",
    )
    keep: tuple[Annotated[str, MaxLen(200)], ...] = setting(
        "Layers that are never pruned: first, last, or a layer's name, such as layer1.0.conv1. "
        "Their weights count in fraction, which the others bear.",
        (),
        uniqueItems=True,
    )


@dataclass(frozen=True)
class Rewinding:
    """Where weight rewinding goes back to: so many epochs and steps into the dense training."""

    __pydantic_config__ = STRICT

    epochs: Annotated[int, Ge(0), Le(10**6)] = setting("Whole epochs, 0 to 1,000,000.", 0)
    steps: Annotated[int, Ge(0), Le(10**9)] = setting(
        "Steps (batches) after these epochs, 0 to 1,000,000,000. 0 of both: the first weights.", 0
    )

    def step(self, images: int, recipe: Recipe) -> int:
        """How many steps of a training on so many images that are; 0 for the first weights."""
        return self.epochs * math.ceil(images / recipe.batch_size) + self.steps


@dataclass(frozen=True)
class FineTuning:
    """How fine-tuning trains the weights that are left, where that is not as the dense model."""

    __pydantic_config__ = STRICT

    learning_rate: Annotated[float, Gt(0), Le(1000)] | None = setting(
        "Constant learning rate, above 0, at most 1,000; null: the last of the recipe's schedule.",
        None,
    )
    epochs: Annotated[int, Ge(1), Le(10**6)] | None = setting(
        "Epochs of a round, 1 to 1,000,000; null: the recipe's.", None
    )

    def of(self, recipe: Recipe) -> Recipe:
        """The recipe of the rounds after the dense one."""
        rate = self.learning_rate or recipe.learning_rate_at(recipe.epochs - 1)
        return replace(
            recipe, learning_rate=rate, epochs=self.epochs or recipe.epochs,
            schedule="constant", warmup=0,
        ).used  # fmt: skip


# Beyond, the loss is no longer what equation (1) says: see sdd.training.distillation.
Temperature = Annotated[float, Ge(0.01), Le(1e4)]


@dataclass(frozen=True)
class Distillation:
    """Equation (1) of the paper: `alpha` weighs the teacher, `temperature` softens both."""

    alpha: Share = setting("Weight of the teacher in the loss, in [0, 1].", 0.8)
    temperature: Temperature = setting(
        "Temperature that softens teacher and student, 0.01 to 10,000.", 10.0
    )


@dataclass(frozen=True)
class EarlyStopping:
    """Stop after `patience` rounds in a row more than `tolerance` points below the best."""

    patience: Annotated[int, Ge(1), Le(1000)] = setting(
        "Rounds in a row below the best before the chain stops, 1 to 1,000.", 3
    )
    tolerance: Annotated[float, Ge(0), Le(100)] = setting(
        "Points of validation accuracy below the best so far that still count as good, 0 to 100.",
        0.0,
    )
