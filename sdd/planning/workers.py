"""What a calibration runs in a process of its own, as many side by side as a study would.

    python -m sdd.planning.workers TASK

times the dense round and each sparse one of a setting, and writes what it took. A sparse round is
pruned in one go from a dense one: its masks are magnitude masks, but not those of a real chain.
"""

import math
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from pathlib import Path

import torch

from sdd.base import layout
from sdd.base.errors import SddError
from sdd.base.files import read_record, write_json
from sdd.base.records import to_dict
from sdd.machine.devices import Lease
from sdd.planning.made_up import FEW, make_labels
from sdd.planning.tasks import SECONDS, TASK, TIMES, TURNS, WORKER_S, Task, Times
from sdd.rounds import round as one_round
from sdd.rounds.inputs import Inputs
from sdd.study.metrics import RoundMetrics
from sdd.study.settings import Recipe
from sdd.study.specs import RoundSpec

SLOW_STEP_S = 1.0  # from here on a step is not worth its while: few images tell as much


@dataclass(frozen=True)
class Timed:
    """One round, and the seconds that it took."""

    metrics: RoundMetrics
    epoch_s: float
    whole_s: float


def main() -> None:
    output = Path(sys.argv[1])
    task = read_record(output / TASK, Task)
    try:
        with Lease(task.device, task.sharing, task.deterministic) as lease:
            device = lease.device(partial(print, file=sys.stderr))
            write_json(output / TIMES, to_dict(measure(task, output, device)))
    except SddError as error:
        sys.exit(f"error: {error}")


def measure(task: Task, output: Path, device: torch.device) -> Times:
    """Times the dense round and each sparse one, which has the dense one for its parent."""

    def run(name: str, spec: RoundSpec, images: int, recipe: Recipe) -> Timed:
        labels = make_labels(output / f"labels{images}", range(images), task.classes)
        parent = output / "round0" / layout.METRICS if spec.round else None
        inputs = Inputs(Path(task.dataset), labels, parent)
        return _timed(replace(spec, recipe=recipe), inputs, output / name, output, device)

    images, recipe, turns = _extent(task, run)
    image_s: dict[int, list[float]] = {}
    image_macs: dict[int, float] = {}
    round_s, setup_s, energy = [], [], None
    for _ in range(turns):
        for number, fraction in sorted(task.fractions.items()):
            spec = task.dense
            if number:
                pruning = replace(task.sparse.pruning, fraction=fraction)
                spec = replace(task.sparse, pruning=pruning)
            timed = run(f"round{number}", spec, images, recipe)
            image_s.setdefault(number, []).append(timed.epoch_s / images)
            image_macs[number] = timed.metrics.flops_computed / recipe.epochs / images
            if not number:
                evaluation = (images + 2 * FEW) * timed.epoch_s / images / 3
                trained = timed.metrics.seconds
                round_s.append(max(0.0, timed.whole_s - trained - evaluation))
                setup_s.append(max(0.0, trained - recipe.epochs * timed.epoch_s))
                energy = timed.metrics.energy
    return Times(
        round_s=statistics.mean(round_s),
        setup_s=statistics.mean(setup_s),
        image_s={number: statistics.mean(seconds) for number, seconds in image_s.items()},
        image_macs=image_macs,
        energy=energy,
    )


def _extent(
    task: Task, run: Callable[[str, RoundSpec, int, Recipe], Timed]
) -> tuple[int, Recipe, int]:
    """On how many images, by which recipe and in how many turns a round is timed."""
    recipe = task.dense.recipe
    probe = run("probe", task.dense, FEW, replace(recipe, batch_size=FEW, epochs=3))
    image_s, batch = probe.epoch_s / FEW, recipe.batch_size
    if image_s * batch > SLOW_STEP_S:
        return FEW, replace(recipe, batch_size=FEW, epochs=2), 1
    each = SECONDS / TURNS
    images = min(task.images, batch * math.ceil(each / 5 / (image_s * batch)))
    return images, replace(recipe, epochs=max(3, math.ceil(each / (image_s * images)))), TURNS


def _timed(
    spec: RoundSpec, inputs: Inputs, folder: Path, output: Path, device: torch.device
) -> Timed:
    epochs: list[float] = []

    def log(line: str) -> None:
        if line.startswith("epoch "):
            epochs.append(time.perf_counter())

    started = time.perf_counter()
    metrics = one_round.run(
        spec,
        inputs,
        output=folder / layout.METRICS,
        device=device,
        sidecar=output / "sidecar",
        save_every=WORKER_S,
        log=log,
    )
    whole = time.perf_counter() - started
    each = [after - before for before, after in pairwise(epochs)]
    return Timed(metrics, statistics.median(each), whole)


if __name__ == "__main__":
    main()
