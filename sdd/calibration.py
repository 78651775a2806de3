"""How fast this machine trains: a few seconds of real rounds, on a made-up data set.

A calibration runs the very jobs of a study, as many side by side as a study would: jobs share
memory bandwidth, hyper-threads and the processor's turbo. The data set has the true one's shape and
size, so that it is read and hashed as that is; images are made of a pattern for each class and
noise, and two in five labels are wrong, so that a network learns and memorises. A sparse round is
pruned in one go from such a training: its masks are magnitude masks, but not those of a real chain.

Imports torch only in the processes that train, and to describe a model.
"""

import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

from sdd import devices
from sdd.datasets import DATASETS, Dataset
from sdd.errors import CalibrationError
from sdd.settings import Recipe
from sdd.study import Chain, Study

SECONDS = 1.0  # of training at each calibrated round ...
TURNS = 2  # ... in so many turns, since the machine may have something else to do for a while
SLOW_STEP_S = 1.0  # from here on a step is not worth its while: few images tell as much
PROBE = 32  # images
WORKER_S = 900.0  # longer than any calibration takes
# Shares of weights at which rounds are timed: dense, masked, and what sparse products gain from 0.4
# down. Between them times are interpolated.
DENSITIES = (1.0, 0.9, 0.4, 0.1, 0.03)


@dataclass(frozen=True)
class Setting:
    """What decides how long a training step takes. Weight decay, labels and epochs do not."""

    model: str
    dataset: str  # the first known one with as many images of the same shape
    recipe: Recipe

    @classmethod
    def of(cls, chain: Chain) -> "Setting":
        known = DATASETS[chain.dataset]
        alike = next(
            d for d in DATASETS.values() if (d.shape, d.train) == (known.shape, known.train)
        )
        recipe = replace(
            chain.recipe, weight_decay=1e-4, epochs=1, schedule="constant", milestones=()
        )
        return cls(chain.model, alike.name, recipe)


@dataclass(frozen=True)
class Anatomy:
    """A model as it is counted, before it is trained."""

    macs: int  # multiply-accumulates of a forward pass, an image
    state_bytes: int  # of all weights and statistics, dense
    weights: int  # that may be pruned; 4 bytes each


@dataclass(frozen=True)
class Power:
    """What the metered devices draw while they train, as a whole."""

    watts: float
    pue: float
    carbon_intensity: float  # g CO2 a kWh
    method: str


@dataclass(frozen=True)
class Rates:
    """What rounds of one setting take, with as many side by side as when it was measured."""

    start_s: float  # to start a job's process, whatever it then does
    round_s: float  # of a round, besides training and evaluation: reading, storing
    setup_s: float  # of a training, besides its epochs
    image_s: dict[int, float]  # an image in an epoch of training, by calibrated round
    image_macs: dict[int, float]  # and what it computes
    power: Power | None  # None: not measured
    device: str

    def seconds_an_image(self, round: float) -> float:
        return _between(self.image_s, round)

    def macs_an_image(self, round: float) -> float:
        return _between(self.image_macs, round)


def _between(points: dict[int, float], at: float) -> float:
    """Linear between the points, constant outside of them."""
    below = max((x for x in points if x <= at), default=min(points))
    above = min((x for x in points if x >= at), default=max(points))
    if below == above:
        return points[below]
    share = (at - below) / (above - below)
    return (1 - share) * points[below] + share * points[above]


def anatomy(model: str, dataset: str) -> Anatomy:
    """Counted on the model itself. Imports torch."""
    from sdd import cost, models, pruning

    known = DATASETS[dataset]
    channels, size, _ = known.shape
    built = models.build(model, channels=channels, size=size, classes=known.classes, seed=0)
    state = sum(value.numel() * value.element_size() for value in built.state_dict().values())
    weights = sum(weight.numel() for weight in pruning.prunable(built).values())
    return Anatomy(cost.count(built, known.shape).forward_macs, state, weights)


def rounds_to_time(fraction: float, last: int) -> list[int]:
    """The first round at or below each of DENSITIES, and the last one."""
    first = {math.ceil(math.log(density) / math.log(1 - fraction)) for density in DENSITIES}
    return sorted({round for round in first if round < last} | {last})


def available_cores() -> int:
    """How many this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@dataclass(frozen=True)
class Machine:
    """What is to be known of model and machine to say what a study costs on it."""

    workers: int  # trainings at a time
    load: float  # how many processes wanted to run before anything was measured
    anatomy: dict[tuple[str, str], Anatomy]  # by model and data set
    rates: dict[Setting, Rates]


def measure(study: Study, cores: int, say: Callable[[str], None]) -> Machine:
    """Calibrates every setting of `study`. Imports torch. Raises CalibrationError."""
    load = os.getloadavg()[0]
    gpus = devices.gpus()
    on_gpu = devices.expects_gpu(study.config["device"], gpus)
    workers = min(cores, available_cores())
    if on_gpu:
        workers = min(workers, len(gpus) * study.config["trainings_per_gpu"])
    chains = study.chains.values()
    rates: dict[Setting, Rates] = {}
    for chain in chains:
        setting = Setting.of(chain)
        if setting not in rates:
            say(f"Training {setting.model} on images like {setting.dataset} for a few seconds ...")
            rates[setting] = calibrate(
                chain,
                study.rounds,
                device=study.config["device"],
                sharing=study.config["trainings_per_gpu"],
                side_by_side=min(workers, len(chains)),
            )
    models = dict.fromkeys((chain.model, chain.dataset) for chain in chains)
    return Machine(workers, load, {names: anatomy(*names) for names in models}, rates)


def calibrate(chain: Chain, last: int, *, device: str, sharing: int, side_by_side: int) -> Rates:
    """Times rounds like those of `chain`, of which `last` is the sparsest.

    `device` and `sharing` are the study's settings. Raises CalibrationError, with what the job
    said, when one fails.
    """
    setting = Setting.of(chain)
    plain = replace(chain, recipe=setting.recipe, distillation=None, teacher=None)
    with tempfile.TemporaryDirectory(prefix="sdd-plan-") as name:
        folder = Path(name)
        _make_data(folder, DATASETS[setting.dataset])
        _make_labels(folder / "few", range(PROBE), DATASETS[setting.dataset].classes)
        task = {
            "folder": name,
            "dense": plain.spec(0),
            "sparse": plain.spec(1),
            "fractions": {
                round: 1 - (1 - chain.pruning.fraction) ** round
                for round in rounds_to_time(chain.pruning.fraction, last)
            },
            "dataset": asdict(DATASETS[setting.dataset]),
            "device": device,
            "sharing": sharing,
        }
        besides = []
        for turn in range(TURNS):
            firsts = [folder / f"first{turn}-{k}" for k in range(side_by_side)]
            whole = _side_by_side([_job(output, folder, task) for output in firsts])
            first = [_read(output / "metrics.json") for output in firsts]
            besides += [t - m["seconds"] for t, m in zip(whole, first, strict=True)]
        outputs = [folder / f"worker{k}" for k in range(side_by_side)]
        _side_by_side(
            [
                [
                    sys.executable,
                    "-m",
                    "sdd.calibration",
                    json.dumps(task | {"output": str(output)}),
                ]
                for output in outputs
            ]
        )
        timed = [_read(output / "times.json") for output in outputs]
    round_s = statistics.mean(t["round_s"] for t in timed)

    def mean(key: str) -> dict[int, float]:
        return {int(r): statistics.mean(t[key][r] for t in timed) for r in timed[0][key]}

    energy = timed[0]["energy"]
    return Rates(
        start_s=max(0.0, statistics.mean(besides) - round_s),
        round_s=round_s,
        setup_s=statistics.mean(t["setup_s"] for t in timed),
        image_s=mean("image_s"),
        image_macs=mean("image_macs"),
        power=None
        if energy["energy_kwh"] is None
        else Power(energy["power_w"], energy["pue"], energy["carbon_intensity"], energy["method"]),
        device=first[0]["device"],
    )


def _job(output: Path, folder: Path, task: dict[str, Any]) -> list[str]:
    """The command of a dense round on a few images, as a study's job runs it."""
    output.mkdir()
    return [
        sys.executable, "-m", "sdd", "train_round",
        "--spec", json.dumps(task["dense"]), "--dataset", str(folder / "dataset.json"),
        "--labels", str(folder / "few/labels.json"), "--output", str(output / "metrics.json"),
        "--log", str(output / "log"), "--state", str(output / "state"),
        "--device", task["device"], "--sharing", str(task["sharing"]),
    ]  # fmt: skip


def _side_by_side(commands: Sequence[list[str]]) -> list[float]:
    """Runs the commands at the same time, each on one thread; the seconds of each."""
    package = str(Path(__file__).parent.parent)
    paths = [package, *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(paths)}
    with tempfile.TemporaryFile("w+") as said:
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


def _read(path: Path) -> Any:
    return json.loads(path.read_text())


def _make_data(folder: Path, known: Dataset) -> None:
    """A prepared data set: the training images of `known` in number and shape, few test images."""
    import numpy as np
    from safetensors.numpy import save_file

    from sdd.files import sha256, write_json

    rng = np.random.default_rng(0)
    patterns = rng.integers(0, 128, (known.classes, *known.shape), np.uint8)
    arrays = {}
    for part, count in (("train", known.train), ("test", PROBE)):
        arrays[f"{part}_labels"] = np.arange(count) % known.classes
        images = rng.integers(0, 128, (count, *known.shape), np.uint8)
        images += patterns[arrays[f"{part}_labels"]]
        arrays[f"{part}_images"] = images
    save_file(arrays, folder / "data.safetensors")
    write_json(
        folder / "dataset.json",
        {
            "classes": known.classes,
            "shape": known.shape,
            "mean": [0.5] * known.shape[0],
            "std": [0.2] * known.shape[0],
            "bytes": (folder / "data.safetensors").stat().st_size,
            "sha256": sha256(folder / "data.safetensors"),
        },
    )


def _make_labels(folder: Path, train: Sequence[int], classes: int) -> Path:
    """Labels of `train`, two in five of them drawn by chance; a few of them validate."""
    import numpy as np

    from sdd import labels
    from sdd.files import write_json

    rng = np.random.default_rng(0)
    index = np.array(train)
    true = index % classes
    noisy = np.where(rng.random(len(true)) < 0.4, rng.integers(0, classes, len(true)), true)
    few = slice(0, PROBE)
    made = labels.Labels(index, noisy, true, index[few], true[few])
    path = folder / "labels.json"
    write_json(path, {"realised_rate": 0.4, "sha256": labels.save(path, made)})
    return path


# --- In the process that trains -------------------------------------------------------------------


def _time_rounds(task: dict[str, Any], lease: devices.Lease) -> dict[str, Any]:
    """Times the dense round and each sparse one, which has the dense one for its parent."""
    from sdd import rounds
    from sdd.segment import Inputs

    device = lease.device(partial(print, file=sys.stderr))
    folder, output = Path(task["folder"]), Path(task["output"])
    classes, images = task["dataset"]["classes"], task["dataset"]["train"]

    def run(name: str, spec: dict[str, Any], n: int, parent: Path | None, **recipe: int):
        """The metrics, the seconds an epoch, and those of the whole round."""
        epochs: list[float] = []

        def log(line: str) -> None:
            if line.startswith("epoch "):
                epochs.append(time.perf_counter())

        labels = _make_labels(output / f"labels{n}", range(n), classes)
        started = time.perf_counter()
        metrics = rounds.run(
            spec | {"recipe": spec["recipe"] | recipe},
            Inputs(dataset=folder / "dataset.json", labels=labels, parent=parent),
            output=output / name / "metrics.json",
            device=device,
            sidecar=output / "sidecar",
            save_every=WORKER_S,
            log=log,
        )
        whole = time.perf_counter() - started
        each = [after - before for before, after in pairwise(epochs)]
        return metrics, statistics.median(each), whole

    probe = run("probe", task["dense"], PROBE, None, batch_size=PROBE, epochs=3)[1] / PROBE
    batch = task["dense"]["recipe"]["batch_size"]
    if probe * batch > SLOW_STEP_S:
        turns, n, recipe = 1, PROBE, {"batch_size": PROBE, "epochs": 2}
    else:
        turns = TURNS
        n = min(images, batch * math.ceil(SECONDS / turns / 5 / (probe * batch)))
        recipe = {"epochs": max(3, math.ceil(SECONDS / turns / (probe * n)))}

    image_s: dict[int, list[float]] = {}
    image_macs: dict[int, float] = {}
    round_s, setup_s, energy = [], [], None
    for _ in range(turns):
        for round, fraction in task["fractions"].items():
            spec, parent = task["dense"], None
            if int(round):
                spec = task["sparse"] | {
                    "pruning": task["sparse"]["pruning"] | {"fraction": fraction}
                }
                parent = output / "round0" / "metrics.json"
            metrics, epoch, whole = run(f"round{round}", spec, n, parent, **recipe)
            image_s.setdefault(int(round), []).append(epoch / n)
            image_macs[int(round)] = metrics["flops_computed"] / recipe["epochs"] / n
            if not int(round):
                evaluation = (n + 2 * PROBE) * epoch / n / 3
                round_s.append(max(0.0, whole - metrics["seconds"] - evaluation))
                setup_s.append(max(0.0, metrics["seconds"] - recipe["epochs"] * epoch))
                energy = metrics["energy"]
    return {
        "round_s": statistics.mean(round_s),
        "setup_s": statistics.mean(setup_s),
        "image_s": {round: statistics.mean(seconds) for round, seconds in image_s.items()},
        "image_macs": image_macs,
        "energy": energy,
    }


if __name__ == "__main__":
    given = json.loads(sys.argv[1])
    with devices.Lease(given["device"], given["sharing"]) as lease:
        result = json.dumps(_time_rounds(given, lease))
    Path(given["output"], "times.json").write_text(result)
