"""How fast this machine trains: a few seconds of real rounds, on a made-up data set.

A calibration runs the very jobs of a study, as many side by side as a study would: jobs share
memory bandwidth, hyper-threads and the processor's turbo. Imports torch only in the processes that
train, and to describe a model.
"""

import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from sdd.base import layout, surroundings
from sdd.base.errors import CalibrationError
from sdd.base.files import canonical, read_record, write_json
from sdd.base.fingerprint import PACKAGE
from sdd.base.records import to_dict
from sdd.machine import devices
from sdd.machine.reading import EnergyReading
from sdd.planning.made_up import FEW, make_dataset, make_labels
from sdd.planning.rates import Anatomy, Machine, Power, Rates, Setting
from sdd.planning.tasks import TASK, TIMES, TURNS, WORKER_S, Task, Times
from sdd.planning.work import untrained
from sdd.study.chains import Chain
from sdd.study.metrics import RoundMetrics, read_metrics
from sdd.study.study import Study

# Shares of weights at which rounds are timed: dense, masked, and what sparse products gain from 0.4
# down. Between them times are interpolated.
DENSITIES = (1.0, 0.9, 0.4, 0.1, 0.03)


def measure(study: Study, cores: int, say: Callable[[str], None]) -> Machine:
    """Calibrates every setting of `study`. Imports torch. Raises CalibrationError."""
    load = os.getloadavg()[0]
    device, sharing = study.config.device, study.config.trainings_per_gpu
    gpus = devices.gpus() if device != "cpu" else ()
    workers = min(cores, available_cores())
    if devices.expects_gpu(device, gpus):
        # With none, device: cuda is refused by the first training, and says why.
        workers = min(workers, max(1, len(gpus)) * sharing)
    chains = [*study.chains.values(), *untrained(study).values()]
    rates: dict[Setting, Rates] = {}
    for chain in chains:
        setting = Setting.of(chain)
        if setting not in rates:
            say(
                f"Training {setting.model} on images like {setting.data.name} for a few seconds ..."
            )
            rates[setting] = calibrate(
                chain,
                study.last_round,
                device=device,
                sharing=sharing,
                deterministic=study.config.deterministic,
                side_by_side=min(workers, len(study.chains)),
            )
    models = {(chain.model, chain.dataset): chain for chain in chains}
    return Machine(workers, load, {names: anatomy(c) for names, c in models.items()}, rates)


def calibrate(
    chain: Chain, last: int, *, device: str, sharing: int, deterministic: bool, side_by_side: int
) -> Rates:
    """Times rounds like those of `chain`, of which `last` is the sparsest.

    `device`, `sharing` and `deterministic` are the study's settings. Raises CalibrationError, with
    what the job said, when one fails.
    """
    setting = Setting.of(chain)
    plain = replace(chain, recipe=setting.recipe, distillation=None, teacher=None)
    known = setting.data
    with tempfile.TemporaryDirectory(prefix="sdd-plan-") as name:
        folder = Path(name)
        fraction = chain.pruning.fraction
        task = Task(
            dense=replace(plain.spec(0), labels=None),  # made-up ones will do
            sparse=replace(plain.spec(1), labels=None),
            fractions={n: 1 - (1 - fraction) ** n for n in rounds_to_time(fraction, last)},
            dataset=str(make_dataset(folder, known)),
            images=known.train,
            classes=known.classes,
            device=device,
            sharing=sharing,
            deterministic=deterministic,
        )
        besides, first = _short_jobs(task, folder, side_by_side)
        timed = _rounds(task, folder, side_by_side)
    return _rates(timed, besides, first.device)


def _short_jobs(task: Task, folder: Path, side_by_side: int) -> tuple[list[float], RoundMetrics]:
    """Jobs of a dense round on a few images, as a study runs them: the seconds that each takes
    besides its training, and the metrics of one."""
    labels = make_labels(folder / "few", range(FEW), task.classes)
    besides = []
    for turn in range(TURNS):
        outputs = [folder / f"first{turn}-{k}" for k in range(side_by_side)]
        whole = _side_by_side([_job(task, labels, output) for output in outputs])
        metrics = [read_metrics(output / layout.METRICS) for output in outputs]
        besides += [t - m.seconds for t, m in zip(whole, metrics, strict=True)]
    return besides, metrics[0]


def _job(task: Task, labels: Path, output: Path) -> list[str]:
    output.mkdir()
    return [
        sys.executable, "-m", "sdd", "train_round",
        "--spec", canonical(task.dense.to_dict()), "--dataset", task.dataset,
        "--labels", str(labels), "--output", str(output / layout.METRICS),
        "--log", str(output / "log"), "--state", str(output / "state"),
        "--device", task.device, "--sharing", str(task.sharing),
        "--deterministic", str(int(task.deterministic)),
    ]  # fmt: skip


def _rounds(task: Task, folder: Path, side_by_side: int) -> list[Times]:
    """What `sdd.planning.workers` measures, in each of the processes side by side."""
    outputs = [folder / f"worker{k}" for k in range(side_by_side)]
    for output in outputs:
        write_json(output / TASK, to_dict(task))
    _side_by_side([[sys.executable, "-m", "sdd.planning.workers", str(o)] for o in outputs])
    return [read_record(output / TIMES, Times) for output in outputs]


def _rates(timed: Sequence[Times], besides: Sequence[float], device: str) -> Rates:
    def mean(values: Callable[[Times], dict[int, float]]) -> dict[int, float]:
        return {n: statistics.mean(values(t)[n] for t in timed) for n in values(timed[0])}

    round_s = statistics.mean(t.round_s for t in timed)
    return Rates(
        start_s=max(0.0, statistics.mean(besides) - round_s),
        round_s=round_s,
        setup_s=statistics.mean(t.setup_s for t in timed),
        image_s=mean(lambda t: t.image_s),
        image_macs=mean(lambda t: t.image_macs),
        power=_power(timed[0].energy),
        device=device,
    )


def _power(energy: EnergyReading) -> Power | None:
    if energy.energy_kwh is None:
        return None
    return Power(energy.power_w, energy.pue, energy.carbon_intensity, energy.method)


def rounds_to_time(fraction: float, last: int) -> list[int]:
    """The first round at or below each of DENSITIES, and the last one."""
    first = {math.ceil(math.log(density) / math.log(1 - fraction)) for density in DENSITIES}
    return sorted({round for round in first if round < last} | {last})


def available_cores() -> int:
    """How many this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def anatomy(chain: Chain) -> Anatomy:
    """Counted on the model of a chain itself. Imports torch."""
    from sdd.models.build import build
    from sdd.sparsity.cost import count
    from sdd.sparsity.masks import prunable

    known = chain.data
    channels, size, _ = known.shape
    built = build(
        chain.model, channels=channels, size=size, classes=known.classes, seed=0, own=chain.build
    )
    state = sum(value.numel() * value.element_size() for value in built.state_dict().values())
    weights = sum(weight.numel() for weight in prunable(built).values())
    return Anatomy(count(built, known.shape).forward_macs, state, weights)


def _side_by_side(commands: Sequence[list[str]]) -> list[float]:
    """Runs the commands at the same time, each on one thread; the seconds of each."""
    ours = surroundings.of_jobs(str(PACKAGE.parent), os.getcwd())
    environment = os.environ | ours | {"OMP_NUM_THREADS": "1", "PYTHONUTF8": "1"}
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as said:
        started = time.perf_counter()
        running = {
            i: subprocess.Popen(command, env=environment, stdout=said, stderr=said)
            for i, command in enumerate(commands)
        }
        seconds = [0.0] * len(commands)
        try:
            while running:
                for i, process in list(running.items()):
                    if process.poll() is not None:
                        seconds[i] = time.perf_counter() - started
                        del running[i]
                        if process.returncode:
                            said.seek(0)
                            raise CalibrationError(
                                "the trainings that calibrate this plan failed: "
                                + (said.read().strip() or f"exit status {process.returncode}")
                            )
                if time.perf_counter() - started > WORKER_S:
                    raise CalibrationError(
                        "the trainings that calibrate this plan do not end. If others hold all "
                        "GPUs, wait for them, or set device: cpu."
                    )
                time.sleep(0.005)
        finally:
            for process in running.values():
                process.kill()
                process.wait()
    return seconds
