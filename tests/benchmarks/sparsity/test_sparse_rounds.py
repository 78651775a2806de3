"""An epoch of LeNet-300-100 over the rounds of a chain: masked, and as the exact small network."""

import statistics

import lenet
import ours
import torch
from measure import take_turns
from torch import nn

from sdd.sparsity import compaction
from sdd.sparsity.kernel_choice import kernels_for
from sdd.sparsity.masks import Masks, counts, dense_masks
from sdd.training.loop import cross_entropy, train

TURNS = 9


def test_a_sparse_epoch(show):
    generator = torch.Generator().manual_seed(0)
    samples, labels = lenet.digits(generator)

    def epoch(model: nn.Module, masks: Masks) -> None:
        train(
            model, masks, samples, labels, labels, lenet.RECIPE, cross_entropy(labels),
            generator=generator, report=lambda _: None,
        )  # fmt: skip

    lines, gains = [], []
    for number, model, masks in lenet.rounds():
        sparse = compaction.faster_products(
            model, masks, kernels_for(lenet.RECIPE, torch.device("cpu"))
        )
        fewer = compaction.fewer_units(model, masks, lenet.RECIPE, lenet.SAMPLES)
        dense = lenet.build()
        timing = take_turns(
            {
                "round 0": ours.epoch(dense, dense_masks(dense), samples, labels, lenet.RECIPE),
                "masked": lambda m=model, k=masks: epoch(m, k),
                "sparse products": lambda s=sparse: epoch(s.model, s.masks),
                "fewer units": lambda s=fewer: epoch(s.model, s.masks),
            },
            TURNS,
        )
        kept, total = counts(masks)
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
