"""What it costs to keep the state of a training, so that it can go on after an interrupt.

Every epoch ends with a copy of the state in memory; every `save_every` seconds (a minute) one is
written. LeNet-300-100 on 3,500 random images, dense and sparse.
"""

from collections import deque

import lenet
import ours
import torch
from measure import take_turns

from sdd.machine.reading import EnergyReading
from sdd.rounds.resume import Kept, Sidecar
from sdd.sparsity.masks import dense_masks

TURNS, SAVE_EVERY_S = 21, 60


def test_keeping_the_state_costs_little(show, tmp_path):
    samples, labels = lenet.digits(torch.Generator().manual_seed(0))
    sidecar = Sidecar(tmp_path / "state", {}, SAVE_EVERY_S, print)
    energy = EnergyReading.unknown("a benchmark", 0.0)
    lines, shares = [], []
    dense = lenet.build()
    cases = [(0, dense, dense_masks(dense)), *lenet.rounds()]
    for number, model, masks in cases:
        last = deque(maxlen=1)
        timing = take_turns(
            {
                "epoch": ours.epoch(model, masks, samples, labels, lenet.RECIPE, keep=last.append),
                # As sdd.training.loop copies it. Two epochs differ by more than that takes.
                "copied": lambda k=last: [t.clone() for t in k[0].tensors.values()],
                "written": lambda k=last: sidecar.write(Kept(k[0], energy, 1)),
            },
            TURNS,
        )
        epoch, copied, written = map(timing.median, timing.seconds)
        share = copied / epoch + written / SAVE_EVERY_S
        shares.append(share)
        lines.append(
            {
                "round": number,
                "epoch, ms": f"{1e3 * epoch:.1f}",
                "a copy, ms": f"{1e3 * copied:.2f}",
                "a writing, ms": f"{1e3 * written:.1f}",
                "in all": f"{100 * share:.2f} %",
                "target": "<= 2 %",
            }
        )
    show(f"Keeping the state, {TURNS} turns", lines)
    assert max(shares) <= 0.02
