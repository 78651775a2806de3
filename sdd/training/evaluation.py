"""What a model answers, and how right it is."""

from contextlib import nullcontext

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sdd.sparsity.kernel_choice import channels_last
from sdd.study.metrics import Score
from sdd.study.settings import Passes, Recipe
from sdd.training.diagnostics import Activity
from sdd.training.samples import Samples


def forward(model: nn.Module, inputs: Tensor, recipe: Recipe | Passes) -> Tensor:
    """Logits of normalised images in the recipe's precision, but never less than float32."""
    if channels_last(recipe, inputs.device):
        inputs = inputs.contiguous(memory_format=torch.channels_last)
    if recipe.precision == "bfloat16":
        with torch.autocast(inputs.device.type, torch.bfloat16):
            return model(inputs).float()
    return model(inputs)


@torch.no_grad()
def predict(
    model: nn.Module, samples: Samples, recipe: Recipe, activity: Activity | None = None
) -> Tensor:
    """Logits [n, classes] of all samples in order, in evaluation mode and without augmentation.

    `activity`, if given, watches.
    """
    model.eval()
    logits = []
    with activity or nullcontext():
        for images in samples.batches():
            if activity:
                activity.begin()
            logits.append(forward(model, samples.normalise(images), recipe))
    return torch.cat(logits)


def score(logits: Tensor, labels: Tensor) -> Score:
    """Accuracy in percent and mean cross-entropy of `logits` [n, classes] on `labels` [n]."""
    return Score(
        accuracy=100 * (logits.argmax(1) == labels).double().mean().item(),
        loss=F.cross_entropy(logits.double(), labels).item(),
    )
