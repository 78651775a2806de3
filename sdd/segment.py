"""Consecutive rounds of a chain in one job. Adopting a finished round imports no torch.

A job trains its own round and, when it is the first of a segment, the rounds ahead of it. All of
them are put aside in a state folder; its own is then delivered. The later jobs of the segment find
theirs there and deliver it, if it was made for the same spec from the same inputs. So each round is
a job with its own files whatever the segments' length, and a killed job keeps what it finished.
A round that is being trained has its sidecar there too.

Where early stopping really ends a chain, the rounds after its end are not trained: their files say
so, and hold no numbers.
"""

import os
import shutil
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sdd import locks
from sdd.devices import Lease
from sdd.errors import DataError
from sdd.files import read_json, sha256, write_json
from sdd.settings import EarlyStopping

METRICS, WEIGHTS, LOG = "metrics.json", "model.safetensors", "training.log"


@dataclass(frozen=True)
class Inputs:
    """What a round is made from: JSON files, each with its data beside it.

    `parent` are the metrics of the round before (None for round 0). A student learns from the table
    of its teacher's answers, `teacher_logits`, or from the teacher itself, whose metrics are
    `teacher`; without distillation both are None.
    """

    dataset: Path
    labels: Path
    parent: Path | None = None
    teacher: Path | None = None
    teacher_logits: Path | None = None

    def hashes(self) -> dict[str, str | None]:
        """The sha256 of the data behind each; stored with a round, to tell what it came from."""
        data = "dataset", "labels", "teacher_logits"
        of_data = {name: getattr(self, name) for name in data}
        of_metrics = {"parent": self.parent, "teacher": self.teacher}
        return {
            **{k: p and read_json(p)["sha256"] for k, p in of_data.items()},
            **{k: p and read_json(p)["weights_sha256"] for k, p in of_metrics.items()},
        }


def run(
    spec: dict[str, Any],
    inputs: Inputs,
    *,
    output: Path,
    log: Path,
    state: Path,
    ahead: int,
    save_every: float,
    lease: Lease,
) -> dict[str, Any]:
    """Makes the round of `spec`, and up to `ahead` - 1 following ones; returns its metrics.

    The round's metrics go to `output`, its weights beside them, its log to `log`; what was trained
    ahead waits in `state`. A failure ahead is left to the job of that round. A training's state is
    saved every `save_every` seconds.
    """
    # One folder a chain. Its jobs run one after the other, unless one has outlived its snakemake.
    folder = state / spec["chain"].replace("/", "--")
    with locks.alone(folder.with_name(f"{folder.name}.lock")):
        for stale in folder.glob(".*"):  # what killed jobs were writing
            with suppress(OSError):
                stale.unlink()
        metrics = _find(folder, spec, inputs)
        if metrics is None:
            ended = _end(spec, inputs)
            if ended is None:
                metrics = _train(folder, spec, inputs, lease, save_every, log)
            else:
                metrics = _leave_out(folder, spec, inputs, ended, log)
        for _ in range(1, ahead):
            inputs = replace(inputs, parent=_round(folder, spec) / METRICS)
            spec = spec | {"round": spec["round"] + 1}
            if _end(spec, inputs) is not None:
                break
            try:
                if _find(folder, spec, inputs) is None:
                    _train(folder, spec, inputs, lease, save_every, _round(folder, spec) / LOG)
            except Exception as error:  # whatever it was, it must not cost the finished round
                with suppress(OSError), log.open("a") as file:
                    print(
                        f"round {spec['round']:02d} failed ahead of its turn and is left to its "
                        f"own job: {type(error).__name__}: {error}",
                        file=file,
                    )
                break
        _deliver(_round(folder, metrics["spec"]), output, log)
    return metrics


def summary(metrics: dict[str, Any]) -> str:
    """One line on a finished round, for people."""
    name = f"{metrics['spec']['chain']}  round {metrics['round']:02d}"
    if metrics["ended"] is not None:
        return f"{name}  not trained: early stopping ended the chain after round {metrics['ended']}"
    return (
        f"{name}  "
        f"{metrics['sparsity']:.2f} % sparse  training {metrics['train']['accuracy']:.1f} %  "
        f"validation {metrics['validation']['accuracy']:.1f} %  "
        f"test {metrics['test']['accuracy']:.1f} %  {metrics['seconds']:.1f} s"
    )


def _round(folder: Path, spec: dict[str, Any]) -> Path:
    return folder / f"round{spec['round']:02d}"


def _sidecar(aside: Path) -> Path:
    # Beside the round's folder, which is whole or does not count.
    return aside.with_suffix(".sidecar")


def _find(folder: Path, spec: dict[str, Any], inputs: Inputs) -> dict[str, Any] | None:
    """The metrics of a round that waits whole and fits; whatever else is there is trained anew."""
    aside = _round(folder, spec)
    try:
        metrics = read_json(aside / METRICS)
        whole = sha256(aside / WEIGHTS) == metrics["weights_sha256"]
    except (DataError, OSError, KeyError):
        return None
    fits = metrics["spec"] == spec and metrics["inputs"] == inputs.hashes()
    return metrics if whole and fits else None


def _train(
    folder: Path, spec: dict[str, Any], inputs: Inputs, lease: Lease, save_every: float, log: Path
) -> dict[str, Any]:
    from sdd import rounds

    aside = _round(folder, spec)
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    with log.open("w") as file:

        def write(line: str) -> None:
            print(line, file=file, flush=True)

        metrics = rounds.run(
            spec,
            inputs,
            output=aside / METRICS,
            device=lease.device(write),
            sidecar=_sidecar(aside),
            save_every=save_every,
            log=write,
        )
        write(summary(metrics))
    return metrics


def _end(spec: dict[str, Any], inputs: Inputs) -> int | None:
    """The round after which early stopping has ended the chain, if it has: never before round 1."""
    if "stopping" not in spec or inputs.parent is None:
        return None

    from sdd.descent import stop_early

    choice = stop_early(
        read_json(inputs.parent)["validation_so_far"], EarlyStopping(**spec["stopping"])
    )
    return choice.last if choice.stopped else None


def _leave_out(
    folder: Path, spec: dict[str, Any], inputs: Inputs, ended: int, log: Path
) -> dict[str, Any]:
    """Files of a round that is not trained: no weights, no numbers, and nothing spent."""
    from sdd import checkpoint

    aside, before = _round(folder, spec), read_json(inputs.parent)
    shutil.rmtree(aside, ignore_errors=True)
    unknown = {"accuracy": None, "loss": None}
    metrics = {
        **before,
        "spec": spec,
        "inputs": inputs.hashes(),
        "round": spec["round"],
        "ended": ended,
        **dict.fromkeys(["sparsity", "weights_kept", "device", "threads"]),
        **dict.fromkeys(["train", "train_clean", "validation", "test"], unknown),
        **dict.fromkeys(["flops", "flops_computed", "seconds", "runs"], 0),
        "history": [],
        "energy": before["energy"] | {"energy_kwh": 0.0, "co2_g": 0.0, "method": "nothing trained"},
        "weights_sha256": checkpoint.save(aside / WEIGHTS, {}, {}),
    }
    write_json(aside / METRICS, metrics)
    log.write_text(summary(metrics) + "\n")
    return metrics


def _deliver(aside: Path, output: Path, log: Path) -> None:
    """Moves a round to its place: the metrics last, since they vouch for the weights."""
    output.parent.mkdir(parents=True, exist_ok=True)
    if (aside / LOG).exists():
        os.replace(aside / LOG, log)
    os.replace(aside / WEIGHTS, output.with_name(WEIGHTS))
    os.replace(aside / METRICS, output)
    aside.rmdir()
    _sidecar(aside).unlink(missing_ok=True)
    with suppress(OSError):  # other rounds wait there
        aside.parent.rmdir()
