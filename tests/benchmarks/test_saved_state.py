"""What it costs to keep the state of a training, so that it can go on after an interrupt.

Every epoch ends with a copy of the state in memory; every `save_every` seconds (a minute) one is
written. LeNet-300-100 on 3,500 random images, dense and at 99.0 % sparsity.
"""

import statistics
from collections import deque

import ours
import torch
from measure import take_turns
from test_sparse_rounds import RECIPE, SAMPLES, lenet, rounds

from sdd import pruning, training
from sdd.energy import EnergyReading
from sdd.sidecar import Kept, Sidecar

TURNS, EPOCHS, SAVE_EVERY_S = 15, 5, 60


def test_keeping_the_state_costs_little(show, tmp_path):
    generator = torch.Generator().manual_seed(0)
    one = torch.ones(1, 1, 1)
    images = torch.randn(SAMPLES, 1, 28, 28, generator=generator)
    samples = training.Samples(images, 0 * one, one)
    labels = torch.randint(10, (SAMPLES,), generator=generator)
    sidecar = Sidecar(tmp_path / "state", {}, SAVE_EVERY_S, print)
    energy = EnergyReading.unknown("a benchmark", 0.0)
    lines, shares = [], []
    dense = lenet()
    cases = [(0, dense, pruning.dense_masks(dense)), *rounds()]
    for number, model, masks in cases:
        last = deque(maxlen=1)
        sides = {
            "without": ours.epoch(model, masks, samples, labels, RECIPE),
            "kept": ours.epoch(model, masks, samples, labels, RECIPE, keep=last.append),
        }
        timing = take_turns(
            {name: lambda run=run: [run() for _ in range(EPOCHS)] for name, run in sides.items()}
            | {"written": lambda k=last: sidecar.write(Kept(k[0], energy, 1))},
            TURNS,
        )
        epoch = timing.median("without") / EPOCHS
        share = timing.ratio("kept", "without") - 1 + timing.median("written") / SAVE_EVERY_S
        shares.append(share)
        lines.append(
            {
                "round": number,
                "epoch, ms": f"{1e3 * epoch:.1f}",
                "kept / without": timing.spread("kept", "without"),
                "a writing, ms": f"{1e3 * timing.median('written'):.1f}",
                "in all": f"{100 * share:.1f} %",
                "target": "<= 2 %",
            }
        )
    show(f"Keeping the state, {TURNS} turns of {EPOCHS} epochs", lines)
    assert statistics.mean(shares) <= 0.02
