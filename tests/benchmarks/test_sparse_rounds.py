"""An epoch of LeNet-300-100 over the rounds of a chain: masked, and as the exact small network.

Data are 3,500 random images of 784 pixels; the time does not depend on them. The masks are random
ones with as many live units and kept weights as a chain on the 5,000 digits had.
"""

import statistics
from collections.abc import Iterator

import ours
import torch
from measure import take_turns
from torch import nn

from sdd import compaction, models, pruning, training
from sdd.settings import Recipe

RECIPE = Recipe("sgd", 1e-4, 1e-4, 128, 1, "constant", momentum=0.9)
SAMPLES, TURNS = 3500, 9
# Live inputs, first and second hidden units; then the kept weights of the three layers.
ROUNDS = {
    14: ((463, 286, 98), (7025, 4010, 672)),
    21: ((391, 247, 83), (1432, 813, 395)),
    26: ((240, 153, 76), (448, 199, 158)),
}


def lenet() -> nn.Module:
    return models.build("lenet-300-100", channels=1, size=28, classes=10, seed=1)


def rounds() -> Iterator[tuple[int, nn.Module, pruning.Masks]]:
    generator = torch.Generator().manual_seed(0)
    for number, (live, kept) in ROUNDS.items():
        model = lenet()
        masks = {name: torch.zeros_like(m) for name, m in pruning.dense_masks(model).items()}
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
        pruning.apply(pruning.prunable(model), masks)
        yield number, model, masks


def test_a_sparse_epoch(show):
    generator = torch.Generator().manual_seed(0)
    one = torch.ones(1, 1, 1)
    images = torch.randn(SAMPLES, 1, 28, 28, generator=generator)
    samples = training.Samples(images, 0 * one, one)
    labels = torch.randint(10, (SAMPLES,), generator=generator)

    def train(model: nn.Module, masks: pruning.Masks) -> None:
        training.train(
            model, masks, samples, labels, labels, RECIPE, training.cross_entropy(labels),
            generator=generator, report=lambda _: None,
        )  # fmt: skip

    lines, gains = [], []
    for number, model, masks in rounds():
        sparse = compaction.faster_products(model, masks)
        fewer = compaction.fewer_units(model, masks, RECIPE, SAMPLES)
        dense = ours.epoch(lenet(), pruning.dense_masks(lenet()), samples, labels, RECIPE)
        timing = take_turns(
            {
                "round 0": dense,
                "masked": lambda m=model, k=masks: train(m, k),
                "sparse products": lambda s=sparse: train(s.model, s.masks),
                "fewer units": lambda s=fewer: train(s.model, s.masks),
            },
            TURNS,
        )
        kept, total = pruning.counts(masks)
        lines.append(
            {"round": number, "sparsity": f"{100 * (1 - kept / total):.2f} %"}
            | {
                side: f"{1e3 * timing.median(side):.1f} ({timing.ratio(side, 'round 0'):.2f})"
                for side in timing.seconds
            }
        )
        gains.append(timing.ratio("sparse products", "masked"))
    show("Milliseconds an epoch (of round 0), one thread, 9 turns (processor time)", lines)
    assert statistics.mean(gains) < 0.5
