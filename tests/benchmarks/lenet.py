"""LeNet-300-100 and what it is trained on: dense, and over the rounds of a chain.

Data are 3,500 random images of 784 pixels; the time does not depend on them. The masks are random
ones with as many live units and kept weights as a chain on the 5,000 digits had.
"""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from sdd.models import build as models
from sdd.sparsity import masks as sparsity
from sdd.sparsity.masks import Masks
from sdd.study.settings import Recipe
from sdd.training.samples import Samples

RECIPE = Recipe("sgd", 1e-4, 1e-4, 128, 1, "constant", momentum=0.9)
SAMPLES = 3500
# Live inputs, first and second hidden units; then the kept weights of the three layers.
ROUNDS = {
    14: ((463, 286, 98), (7025, 4010, 672)),
    21: ((391, 247, 83), (1432, 813, 395)),
    26: ((240, 153, 76), (448, 199, 158)),
}


def build(seed: int = 1) -> nn.Module:
    return models.build("lenet-300-100", channels=1, size=28, classes=10, seed=seed)


def digits(generator: torch.Generator) -> tuple[Samples, Tensor]:
    """Random images, and labels for them."""
    one = torch.ones(1, 1, 1)
    images = torch.randn(SAMPLES, 1, 28, 28, generator=generator)
    return Samples(images, 0 * one, one), torch.randint(10, (SAMPLES,), generator=generator)


def rounds() -> Iterator[tuple[int, nn.Module, Masks]]:
    """Three sparse rounds: their numbers, models and masks."""
    generator = torch.Generator().manual_seed(0)
    for number, (live, kept) in ROUNDS.items():
        model = build()
        masks = {name: torch.zeros_like(m) for name, m in sparsity.dense_masks(model).items()}
        widths = zip((*live, 10), (*live, 10)[1:], kept, strict=False)
        for mask, (inputs, outputs, count) in zip(masks.values(), widths, strict=True):
            # Every live unit has a weight; the others stand anywhere between live units.
            order = torch.randperm(inputs * outputs, generator=generator).tolist()
            ends = range(max(inputs, outputs))
            chosen = {(k % outputs) * inputs + k % inputs for k in ends}
            chosen |= set(order[: count - len(chosen)])
            flat = torch.zeros(inputs * outputs, dtype=torch.bool)
            flat[list(chosen)] = True
            mask[:outputs, :inputs] = flat.view(outputs, inputs)
        sparsity.apply(sparsity.prunable(model), masks)
        yield number, model, masks
