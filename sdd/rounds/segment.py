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

from sdd.base import layout, locks
from sdd.base.errors import DataError, Orphaned
from sdd.base.files import sha256
from sdd.base.layout import ChainState
from sdd.base.ownership import Claim, Run
from sdd.machine.devices import Lease
from sdd.machine.memory import enough_memory, smaller
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
    inputs.check(spec)
    # One folder a chain. Its jobs run one after the other, unless one has outlived its snakemake:
    # then it loses the right to deliver, and stops after its epoch.
    aside = ChainState.of(state, spec.chain)
    claim = Claim.taken(aside.claim)
    job = Job(aside, lease, save_every, Run.of_this_job(), claim)

    def waiting() -> None:
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_text(
            f"waits for another job of this chain, which holds {aside.lock}: one that has outlived "
            "its snakemake stops after its epoch\n",
            "utf-8",
        )

    with locks.alone(aside.lock, waiting):
        for stale in aside.folder.glob(".*"):  # what killed jobs were writing
            with suppress(OSError):
                stale.unlink()
        metrics = job.find(spec, inputs) or job.make(spec, inputs, log)
        _go_ahead(job, spec, inputs, ahead, log)
        job.deliver(metrics.round, output, log)
        claim.give_up()
    return metrics


def _go_ahead(job: "Job", spec: RoundSpec, inputs: Inputs, ahead: int, log: Path) -> None:
    """Trains the rounds after that of `spec`; whatever fails is left to the job of that round."""
    for _ in range(1, ahead):
        if spec.next().parent == spec.round:
            inputs = replace(inputs, parent=job.aside.metrics(spec.round))
        spec = spec.next()
        if _end(spec, inputs) is not None:
            return
        try:
            if job.find(spec, inputs) is None:
                job.train(spec, inputs, job.aside.log(spec.round))
        except Orphaned:
            raise
        except Exception as error:  # whatever it was, it must not cost the finished round
            with suppress(OSError), log.open("a", encoding="utf-8") as file:
                print(
                    f"round {spec.round:02d} failed ahead of its turn and is left to its own "
                    f"job: {type(error).__name__}: {error}",
                    file=file,
                )
            return


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


@dataclass(frozen=True)
class Job:
    """What the rounds of one job have in common."""

    aside: ChainState
    lease: Lease
    save_every: float
    run: Run
    claim: Claim

    def orphaned(self) -> str | None:
        """Why it must neither go on nor deliver, if so."""
        if self.claim.lost:
            return "a later job of this chain has taken this one's place"
        return "the snakemake that started this job is gone" if self.run.gone else None

    def find(self, spec: RoundSpec, inputs: Inputs) -> RoundMetrics | None:
        """The metrics of a round that waits whole and fits; whatever else is there is trained
        anew."""
        path = self.aside.metrics(spec.round)
        try:
            metrics = read_metrics(path)
            whole = sha256(layout.data_of(path)) == metrics.weights_sha256
        except (DataError, OSError):
            return None
        fits = metrics.spec == spec and metrics.inputs == inputs.hashes()
        return metrics if whole and fits else None

    def make(self, spec: RoundSpec, inputs: Inputs, log: Path) -> RoundMetrics:
        end = _end(spec, inputs)
        if end is None:
            return self.train(spec, inputs, log)
        return _leave_out(self.aside, spec, inputs, end, log)

    def train(self, spec: RoundSpec, inputs: Inputs, log: Path) -> RoundMetrics:
        from sdd.rounds import round

        output = _emptied(self.aside, spec)
        with log.open("w", encoding="utf-8") as file:

            def write(line: str) -> None:
                print(line, file=file, flush=True)

            device = self.lease.device(write)
            changes = smaller(spec.recipe.batch_size, spec.recipe.precision)
            what, on_gpu = f"{spec.chain}, round {spec.round}", device.type != "cpu"
            with enough_memory(what, on_gpu, self.lease.sharing, changes):
                metrics = round.run(
                    spec,
                    inputs,
                    output=output,
                    device=device,
                    sidecar=self.aside.sidecar(spec.round),
                    save_every=self.save_every,
                    log=write,
                    orphaned=self.orphaned,
                )
            write(summary(metrics))
        return metrics

    def deliver(self, number: int, output: Path, log: Path) -> None:
        """Moves a round to its place: the metrics last, since they vouch for the weights.

        Raises Orphaned, and moves nothing, where the right to it is lost.
        """
        if reason := self.orphaned():
            raise Orphaned(f"{reason}: {output} is left to it.")
        waiting = self.aside.metrics(number)
        output.parent.mkdir(parents=True, exist_ok=True)
        if self.aside.log(number).exists():
            os.replace(self.aside.log(number), log)
        os.replace(layout.data_of(waiting), layout.data_of(output))
        os.replace(waiting, output)
        waiting.parent.rmdir()
        with suppress(OSError):  # none is there, or what is none
            self.aside.sidecar(number).unlink()
        with suppress(OSError):  # other rounds wait there
            self.aside.folder.rmdir()


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
        instruction_set=None,
        diagnostics=None,
        weights=None,
        kernels=None,
    )
    write_metrics(path, metrics)
    log.write_text(summary(metrics) + "\n", "utf-8")
    return metrics
