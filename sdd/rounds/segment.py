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
from dataclasses import replace
from pathlib import Path

from sdd.base import layout, locks
from sdd.base.errors import DataError
from sdd.base.files import sha256
from sdd.base.layout import ChainState
from sdd.machine.devices import Lease
from sdd.rounds.inputs import Inputs
from sdd.study.metrics import RoundMetrics, Score, read_metrics, write_metrics
from sdd.study.specs import RoundSpec


def run(
    spec: RoundSpec,
    inputs: Inputs,
    *,
    output: Path,
    log: Path,
    state: Path,
    ahead: int,
    save_every: float,
    lease: Lease,
) -> RoundMetrics:
    """Makes the round of `spec`, and up to `ahead` - 1 following ones; returns its metrics.

    The round's metrics go to `output`, its weights beside them, its log to `log`; what was trained
    ahead waits in `state`. A failure ahead is left to the job of that round. A training's state is
    saved every `save_every` seconds.
    """
    # One folder a chain. Its jobs run one after the other, unless one has outlived its snakemake.
    aside = ChainState.of(state, spec.chain)
    with locks.alone(aside.lock):
        for stale in aside.folder.glob(".*"):  # what killed jobs were writing
            with suppress(OSError):
                stale.unlink()
        metrics = _find(aside, spec, inputs)
        if metrics is None:
            end = _end(spec, inputs)
            if end is None:
                metrics = _train(aside, spec, inputs, lease, save_every, log)
            else:
                metrics = _leave_out(aside, spec, inputs, end, log)
        for _ in range(1, ahead):
            inputs, spec = replace(inputs, parent=aside.metrics(spec.round)), spec.next()
            if _end(spec, inputs) is not None:
                break
            try:
                if _find(aside, spec, inputs) is None:
                    _train(aside, spec, inputs, lease, save_every, aside.log(spec.round))
            except Exception as error:  # whatever it was, it must not cost the finished round
                with suppress(OSError), log.open("a", encoding="utf-8") as file:
                    print(
                        f"round {spec.round:02d} failed ahead of its turn and is left to its own "
                        f"job: {type(error).__name__}: {error}",
                        file=file,
                    )
                break
        _deliver(aside, metrics.round, output, log)
    return metrics


def summary(metrics: RoundMetrics) -> str:
    """One line on a finished round, for people."""
    name = f"{metrics.spec.chain}  round {metrics.round:02d}"
    if metrics.ended is not None:
        return f"{name}  not trained: early stopping ended the chain after round {metrics.ended}"
    return (
        f"{name}  "
        f"{metrics.sparsity:.2f} % sparse  training {metrics.train.accuracy:.1f} %  "
        f"validation {metrics.validation.accuracy:.1f} %  "
        f"test {metrics.test.accuracy:.1f} %  {metrics.seconds:.1f} s"
    )


def _find(aside: ChainState, spec: RoundSpec, inputs: Inputs) -> RoundMetrics | None:
    """The metrics of a round that waits whole and fits; whatever else is there is trained anew."""
    path = aside.metrics(spec.round)
    try:
        metrics = read_metrics(path)
        whole = sha256(layout.data_of(path)) == metrics.weights_sha256
    except (DataError, OSError):
        return None
    fits = metrics.spec == spec and metrics.inputs == inputs.hashes()
    return metrics if whole and fits else None


def _train(
    aside: ChainState, spec: RoundSpec, inputs: Inputs, lease: Lease, save_every: float, log: Path
) -> RoundMetrics:
    from sdd.rounds import round

    output = _emptied(aside, spec)
    with log.open("w", encoding="utf-8") as file:

        def write(line: str) -> None:
            print(line, file=file, flush=True)

        metrics = round.run(
            spec,
            inputs,
            output=output,
            device=lease.device(write),
            sidecar=aside.sidecar(spec.round),
            save_every=save_every,
            log=write,
        )
        write(summary(metrics))
    return metrics


def _emptied(aside: ChainState, spec: RoundSpec) -> Path:
    """Where a round's metrics are to lie, in a folder with nothing in it."""
    path = aside.metrics(spec.round)
    shutil.rmtree(path.parent, ignore_errors=True)
    path.parent.mkdir(parents=True)
    return path


def _end(spec: RoundSpec, inputs: Inputs) -> int | None:
    """The round after which early stopping has ended the chain, if it has: never before round 1."""
    if spec.early_stopping is None or inputs.parent is None:
        return None

    from sdd.analysis.descent import stop_early

    choice = stop_early(read_metrics(inputs.parent).validation_so_far, spec.early_stopping)
    return choice.last if choice.ended_early else None


def _leave_out(
    aside: ChainState, spec: RoundSpec, inputs: Inputs, end: int, log: Path
) -> RoundMetrics:
    """Files of a round that is not trained: no weights, no numbers, and nothing spent."""
    from sdd.sparsity.checkpoint import write_checkpoint

    path, before = _emptied(aside, spec), read_metrics(inputs.parent)
    metrics = replace(
        before,
        spec=spec,
        inputs=inputs.hashes(),
        round=spec.round,
        ended=end,
        sparsity=None,
        weights_kept=None,
        device=None,
        threads=None,
        train=Score(),
        train_clean=Score(),
        validation=Score(),
        test=Score(),
        flops=0,
        flops_computed=0,
        seconds=0.0,
        runs=0,
        history=(),
        energy=replace(before.energy, energy_kwh=0.0, co2_g=0.0, method="nothing trained"),
        weights_sha256=write_checkpoint(layout.data_of(path), {}, {}),
    )
    write_metrics(path, metrics)
    log.write_text(summary(metrics) + "\n", "utf-8")
    return metrics


def _deliver(aside: ChainState, number: int, output: Path, log: Path) -> None:
    """Moves a round to its place: the metrics last, since they vouch for the weights."""
    waiting = aside.metrics(number)
    output.parent.mkdir(parents=True, exist_ok=True)
    if aside.log(number).exists():
        os.replace(aside.log(number), log)
    os.replace(layout.data_of(waiting), layout.data_of(output))
    os.replace(waiting, output)
    waiting.parent.rmdir()
    aside.sidecar(number).unlink(missing_ok=True)
    with suppress(OSError):  # other rounds wait there
        aside.folder.rmdir()
