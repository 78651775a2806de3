"""Several rounds in one job: the same bits, adopted only where they fit, and nothing lost."""

import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from conftest import ROOT

from sdd.base.errors import Divergence, OutOfMemory
from sdd.data.facts import read_facts
from sdd.machine.devices import Lease
from sdd.rounds import segment
from sdd.rounds.inputs import Inputs
from sdd.study.metrics import Score, read_metrics
from sdd.study.settings import EarlyStopping, Pruning, Recipe
from sdd.study.specs import RoundSpec

# What the arguments of a job are made of, for a process of its own.
IMPORTS = (
    "import sys; from pathlib import PosixPath; from sdd.rounds import segment; "
    "from sdd.machine.devices import Lease; from sdd.rounds.inputs import Inputs; "
    "from sdd.study.settings import *; from sdd.study.specs import RoundSpec; "
)
RECIPE = Recipe("sgd", 0.05, 1e-4, 128, 1, "constant", momentum=0.9)


class Chain:
    """Runs the jobs of a chain in a folder, as the workflow's rules do."""

    def __init__(self, data, folder):
        self.data, self.folder = data, folder

    def metrics(self, round):
        return self.folder / f"round{round:02d}" / "metrics.json"

    def arguments(self, round, ahead=1, **changes):
        spec = RoundSpec(
            chain="a/b/c/d/seed1",
            round=round,
            model="lenet-300-100",
            recipe=RECIPE,
            seed=1,
            pruning=Pruning(0.2) if round else None,
            retraining="learning-rate-rewinding" if round else None,
        )
        if not round:  # the dense round knows nothing of what follows
            changes.pop("early_stopping", None)
        parent = self.metrics(round - 1) if round else None
        data = self.data / "dataset.json", self.data / "labels.json"
        return (replace(spec, **changes), Inputs(*data, parent)), {
            "output": self.metrics(round), "log": self.folder / f"{round}.log",
            "state": self.folder / "state", "ahead": ahead, "save_every": 60,
            "lease": Lease("cpu", 1),
        }  # fmt: skip

    def job(self, round, ahead=1, **changes):
        positional, named = self.arguments(round, ahead, **changes)
        return segment.run(*positional, **named)


@pytest.fixture
def chain(data, tmp_path):
    return Chain(data, tmp_path)


@pytest.fixture(scope="module")
def reference(data, tmp_path_factory):
    """Every round a job."""
    chain = Chain(data, tmp_path_factory.mktemp("reference"))
    return [chain.job(r).weights_sha256 for r in range(4)]


def test_the_same_bits_and_files_whatever_the_length(chain, reference):
    shas = [chain.job(r, ahead=3 if r == 1 else 1).weights_sha256 for r in range(4)]
    assert shas == reference
    for r in range(4):
        assert sorted(path.name for path in chain.metrics(r).parent.iterdir()) == [
            "metrics.json", "model.safetensors",
        ]  # fmt: skip
        log = (chain.folder / f"{r}.log").read_text()
        assert "epoch 1/1" in log and f"round {r:02d}" in log
    assert not list((chain.folder / "state").iterdir())


def test_a_later_job_adopts_its_round_without_torch(chain, reference):
    chain.job(0)
    chain.job(1, ahead=3)
    (spec, inputs), named = chain.arguments(2)
    code = (
        IMPORTS + f"m = segment.run({spec!r}, {inputs!r}, **{named!r}); "
        "assert 'torch' not in sys.modules; print(m.weights_sha256)"
    )
    out = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert out.stdout.strip() == reference[2]


def test_rounds_for_another_spec_or_from_another_parent_are_not_adopted(
    chain, reference, monkeypatch
):
    # A recipe that changes within a chain is refused; here it stands for any other spec.
    monkeypatch.setattr(RoundSpec, "follows", lambda *_: [])
    chain.job(0)
    chain.job(1, ahead=3)
    other = chain.job(2, recipe=replace(RECIPE, learning_rate=0.01))
    assert other.weights_sha256 != reference[2]
    # Round 3 was made from the round 2 that nobody took.
    assert chain.job(3).inputs.parent == other.weights_sha256


@pytest.mark.parametrize(
    "error", [Divergence("the loss is nan"), RuntimeError("shapes do not fit")]
)
def test_a_failure_ahead_is_left_to_its_own_job(chain, monkeypatch, reference, error):
    from sdd.rounds import round as rounds

    chain.job(0)
    really = rounds.run

    def fail(spec, *arguments, **named):
        if spec.round == 2:
            raise error
        return really(spec, *arguments, **named)

    monkeypatch.setattr(rounds, "run", fail)
    assert chain.job(1, ahead=3).weights_sha256 == reference[1]
    assert chain.metrics(1).exists()
    assert f"{type(error).__name__}: {error}" in (chain.folder / "1.log").read_text()
    with pytest.raises(type(error)):
        chain.job(2)


def test_a_killed_job_keeps_the_rounds_it_finished(chain, monkeypatch, reference):
    from sdd.rounds import round as rounds

    chain.job(0)
    trained, really = [], rounds.run

    def dies_in_round_3(spec, *arguments, **named):
        trained.append(spec.round)
        if trained == [1, 2, 3]:
            raise KeyboardInterrupt
        return really(spec, *arguments, **named)

    monkeypatch.setattr(rounds, "run", dies_in_round_3)
    with pytest.raises(KeyboardInterrupt):
        chain.job(1, ahead=3)
    assert not chain.metrics(1).exists()
    assert chain.job(1, ahead=3).weights_sha256 == reference[1]
    assert [chain.job(r).weights_sha256 for r in (2, 3)] == reference[2:]
    assert trained == [1, 2, 3, 3]


def test_a_job_killed_while_it_delivers_starts_over(chain, reference):
    """The weights are in their place, the metrics are not: what waits is no whole round."""
    chain.job(0)
    chain.job(1, ahead=3)
    (waiting,) = (chain.folder / "state").glob("*/round02/model.safetensors")
    waiting.rename(chain.folder / "moved")
    assert chain.job(2).weights_sha256 == reference[2]
    (waiting,) = (chain.folder / "state").glob("*/round03/metrics.json")
    waiting.write_text("{")
    assert chain.job(3).weights_sha256 == reference[3]


def test_metrics_name_the_data_they_came_from(chain):
    chain.job(0)
    chain.job(1)
    inputs = read_metrics(chain.metrics(1)).inputs
    facts = read_facts(chain.data / "dataset.json")
    assert inputs.dataset == facts.sha256
    assert inputs.parent == read_metrics(chain.metrics(0)).weights_sha256
    assert inputs.teacher is None


STOPPING = {"early_stopping": EarlyStopping(1, 0.0)}


def test_where_early_stopping_ends_a_chain_its_later_rounds_are_not_trained(chain):
    from sdd.analysis.descent import stop_early

    trained = [chain.job(0, **STOPPING)]
    while trained[-1].ended is None:
        trained.append(chain.job(len(trained), **STOPPING))
        assert len(trained) < 20
    *trained, left_out = trained
    so_far = [m.validation.accuracy for m in trained]
    assert list(trained[-1].validation_so_far) == so_far
    choice = stop_early(so_far, EarlyStopping(1, 0.0))
    assert choice.ended_early and left_out.ended == choice.last == len(trained) - 1
    # The round after the next one, by a process without torch.
    (spec, inputs), named = chain.arguments(len(trained) + 1, **STOPPING)
    code = (
        IMPORTS
        + f"segment.run({spec!r}, {inputs!r}, **{named!r}); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
    for number in (len(trained), len(trained) + 1):
        metrics = read_metrics(chain.metrics(number))
        assert metrics.round == number and metrics.ended == len(trained) - 1
        scores = [metrics.train, metrics.train_clean, metrics.validation, metrics.test]
        assert all(score == Score() for score in scores)
        assert metrics.flops == metrics.flops_computed == metrics.seconds == 0
        assert "not trained: early stopping ended" in (chain.folder / f"{number}.log").read_text()
    assert not list((chain.folder / "state").iterdir())


def test_a_job_of_several_rounds_ends_with_its_chain(chain):
    for number in range(20):
        metrics = chain.job(number, ahead=5 if number else 1, **STOPPING)
        if metrics.ended is not None:
            break
    alone = Chain(chain.data, chain.folder / "alone")
    for before in range(number):
        one, other = alone.job(before, **STOPPING), read_metrics(chain.metrics(before))
        assert one.weights_sha256 == other.weights_sha256
    assert metrics.ended == number - 1


def test_an_orphan_stops_after_its_epoch_with_its_state_saved(chain, monkeypatch, reference):
    from sdd.base.errors import Orphaned
    from sdd.base.ownership import Run

    monkeypatch.setattr(Run, "gone", property(lambda run: True))
    with pytest.raises(Orphaned, match="the snakemake that started this job is gone"):
        chain.job(0)
    assert not chain.metrics(0).exists()
    assert list((chain.folder / "state").rglob("*.sidecar"))
    assert "stops after epoch 1" in (chain.folder / "0.log").read_text()
    monkeypatch.undo()
    assert chain.job(0).weights_sha256 == reference[0]
    assert "goes on after epoch 1" in (chain.folder / "0.log").read_text()
    assert not list((chain.folder / "state").iterdir())


def test_what_another_job_has_claimed_is_not_delivered(chain, monkeypatch, reference):
    from sdd.base.errors import Orphaned
    from sdd.base.layout import ChainState
    from sdd.base.ownership import Claim
    from sdd.rounds import round as one_round

    really = one_round.record

    def claimed_meanwhile(*arguments):
        Claim.taken(ChainState.of(chain.folder / "state", "a/b/c/d/seed1").claim)
        return really(*arguments)

    monkeypatch.setattr(one_round, "record", claimed_meanwhile)
    with pytest.raises(Orphaned, match="a later job of this chain has taken this one's place"):
        chain.job(0)
    assert not chain.metrics(0).exists()
    monkeypatch.undo()
    # The later job finds the round whole, and delivers it.
    assert chain.job(0).weights_sha256 == reference[0]
    assert not list((chain.folder / "state").iterdir())


def test_a_round_that_needs_more_memory_than_there_is_says_what_helps(data, tmp_path, monkeypatch):
    from sdd.rounds import round

    monkeypatch.setattr(round, "predict", lambda *_: torch.empty(2**55))
    with pytest.raises(
        OutOfMemory, match=r"^a/b/c/d/seed1, round 0: .*smaller batch_size than 128"
    ):
        Chain(data, tmp_path).job(0)
    assert not Chain(data, tmp_path).metrics(0).exists()
