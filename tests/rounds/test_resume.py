"""Going on with a training that was interrupted: the same bits, or a clear word and a new start."""

import hashlib
import os
import signal
import subprocess
import sys
import time
from dataclasses import fields, replace

import pytest
import torch
from conftest import ROOT
from safetensors.torch import save
from test_round import RECIPE, run
from torch import nn
from toy import ADAMW, SGD, by_magnitude, problem

from sdd.base.files import canonical
from sdd.machine.processor import Kernels
from sdd.machine.reading import EnergyReading
from sdd.rounds import round as one_round
from sdd.rounds.resume import Kept, Sidecar
from sdd.sparsity import masks as sparsity
from sdd.sparsity.kernel_choice import kernels_for
from sdd.study.settings import Pruning
from sdd.study.specs import RoundSpec
from sdd.training.loop import cross_entropy, train

READING = EnergyReading(2e-5, 0.009, "RAPL", 445.0, 1.58, 60.0, 0.5, 2.4, None)
SPENT = {"seconds", "energy", "runs"}


def network():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        layers = nn.Linear(12, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 5)
        return nn.Sequential(nn.Flatten(), *layers).double()


def fit(recipe, start=None):
    samples, labels, true = problem()
    model, states = network(), []
    masks = sparsity.prune(
        by_magnitude(sparsity.prunable(model)), sparsity.dense_masks(model), Pruning(0.5)
    )
    sparsity.apply(sparsity.prunable(model), masks)
    torch.manual_seed(5)
    history = train(
        model, masks, samples, labels, true, recipe, cross_entropy(labels),
        generator=torch.Generator().manual_seed(2), report=lambda epoch: None,
        start=start, keep=states.append,
    )  # fmt: skip
    return model.state_dict(), history, states


def sidecar(folder, stamp="a", log=lambda line: None):
    return Sidecar(folder / "round.sidecar", {"spec": stamp}, 60.0, log)


@pytest.mark.parametrize("recipe", [SGD, ADAMW], ids=["sgd", "adamw"])
def test_a_training_taken_up_after_any_epoch_ends_with_the_same_bits(recipe, tmp_path):
    weights, history, states = fit(recipe)
    assert [len(state.history) for state in states] == [1, 2, 3]
    for state in states:
        torch.rand(3)  # whatever else drew random numbers in between
        sidecar(tmp_path).write(Kept(state, READING, 1))
        kept = sidecar(tmp_path).read()
        assert (kept.energy, kept.runs) == (READING, 1)
        again, whole, _ = fit(recipe, kept.state)
        assert whole == history
        assert again.keys() == weights.keys()
        for name, tensor in weights.items():
            assert torch.equal(again[name], tensor), name


def test_states_are_copies():
    _, _, states = fit(SGD)
    assert not torch.equal(states[0].tensors["model.1.weight"], states[1].tensors["model.1.weight"])


def test_every_altered_byte_is_noticed(tmp_path):
    state = fit(SGD)[2][0]
    said = []
    aside = sidecar(tmp_path, log=said.append)
    aside.write(Kept(state, READING, 1))
    whole = aside.path.read_bytes()
    for position in range(0, len(whole), 37):
        altered = bytearray(whole)
        altered[position] ^= 1
        aside.path.write_bytes(altered)
        assert aside.read() is None
    for length in (0, 1, 31, 32, 40, len(whole) // 2, len(whole) - 1):
        aside.path.write_bytes(whole[:length])
        assert aside.read() is None
    assert all(line == f"{aside.path} is damaged: the training starts over" for line in said)


def test_another_training_is_not_taken_up(tmp_path):
    said = []
    sidecar(tmp_path).write(Kept(fit(SGD)[2][0], READING, 1))
    assert sidecar(tmp_path, "b", said.append).read() is None
    assert "of another config, code, version or processor" in said[0]
    assert sidecar(tmp_path / "empty").read() is None


def test_a_state_of_another_version_is_not_taken_up(tmp_path):
    said = []
    aside = sidecar(tmp_path, log=said.append)
    payload = save({"model.weight": torch.zeros(3)})
    aside.path.write_bytes(hashlib.sha256(payload).digest() + payload)
    assert aside.read() is None
    assert "of another config, code, version or processor" in said[0]


class Interrupted:
    """A log that interrupts the round after some epoch."""

    def __init__(self, monkeypatch, epoch):
        def interrupt(training_report):
            def report(e):
                training_report(e)
                if e.epoch + 1 == epoch:
                    raise KeyboardInterrupt

            return report

        real = one_round.train

        def interrupted(*args, report, **kwargs):
            return real(*args, report=interrupt(report), **kwargs)

        monkeypatch.setattr(one_round, "train", interrupted)


FOUR = replace(RECIPE, epochs=4, milestones=(2,))


@pytest.mark.parametrize("round", [0, 1])
def test_an_interrupted_round_goes_on_and_ends_the_same(data, tmp_path, monkeypatch, round):
    whole = [run(data, tmp_path / "whole", r, recipe=FOUR)[0] for r in range(round + 1)][-1]
    torn = tmp_path / "torn"
    for r in range(round):
        run(data, torn, r, recipe=FOUR)
    with monkeypatch.context() as patched:
        Interrupted(patched, 3)
        with pytest.raises(KeyboardInterrupt):
            run(data, torn, round, recipe=FOUR)
    # The epoch that was interrupted is not counted, the one before it is.
    assert (torn / "sidecar").exists() and not list(torn.glob(f"round{round:02d}/*"))
    metrics, lines = run(data, torn, round, recipe=FOUR)
    assert lines[0].startswith("goes on after epoch 2, from ")
    assert [line.split()[1] for line in lines[1:]] == ["1/4", "2/4", "3/4", "4/4"]
    assert metrics.runs == 2 and whole.runs == 1
    for field in fields(metrics):
        if field.name not in SPENT:
            assert getattr(metrics, field.name) == getattr(whole, field.name)


def test_a_state_of_another_instruction_set_is_not_taken_up(data, tmp_path, monkeypatch):
    """Half of its epochs would have other roundings than what the metrics say."""
    with monkeypatch.context() as patched:
        Interrupted(patched, 3)
        patched.setattr(one_round, "instruction_set", lambda device: "another")
        with pytest.raises(KeyboardInterrupt):
            run(data, tmp_path, recipe=FOUR)
    metrics, lines = run(data, tmp_path, recipe=FOUR)
    assert "of another config, code, version or processor: starts over" in lines[0]
    assert metrics.runs == 1
    assert metrics.instruction_set == torch.backends.cpu.get_cpu_capability()


def test_a_state_of_other_kernels_is_not_taken_up(data, tmp_path, monkeypatch):
    with monkeypatch.context() as patched:
        Interrupted(patched, 3)
        other = Kernels(7, 0.7, 0.7, channels_last=False)
        patched.setattr(one_round, "kernels_for", lambda recipe, device: other)
        with pytest.raises(KeyboardInterrupt):
            run(data, tmp_path, recipe=FOUR)
    metrics, lines = run(data, tmp_path, recipe=FOUR)
    assert "of another config, code, version or processor: starts over" in lines[0]
    assert metrics.runs == 1
    assert metrics.kernels == kernels_for(FOUR, torch.device("cpu"))


def test_what_both_runs_took_is_added(data, tmp_path, monkeypatch):
    with monkeypatch.context() as patched:
        Interrupted(patched, 2)
        with pytest.raises(KeyboardInterrupt):
            run(data, tmp_path, recipe=FOUR)
    stamp = {"any": "stamp"}
    before = Sidecar(tmp_path / "sidecar", stamp, 60, lambda line: None)
    content = before.path.read_bytes()
    assert canonical(stamp).encode() not in content
    metrics, _ = run(data, tmp_path, recipe=FOUR)
    energy = metrics.energy
    assert metrics.seconds == energy.seconds > 0
    if energy.energy_kwh is not None:
        watts = energy.power_w * energy.share * energy.pue
        assert energy.energy_kwh == pytest.approx(watts * energy.seconds / 3.6e6)


def test_a_sidecar_of_another_recipe_is_not_taken_up(data, tmp_path, monkeypatch):
    with monkeypatch.context() as patched:
        Interrupted(patched, 3)
        with pytest.raises(KeyboardInterrupt):
            run(data, tmp_path, recipe=FOUR)
    other = replace(FOUR, learning_rate=0.04)
    metrics, lines = run(data, tmp_path, recipe=other)
    assert "of another config" in lines[0] and lines[1].startswith("epoch 1/4")
    assert metrics.runs == 1


def test_energy_readings_add_up():
    later = EnergyReading(4e-5, 0.018, "NVML", 445.0, 1.58, 30.0, 1.0, 4.8, None)
    both = later.after(READING)
    assert both.energy_kwh == pytest.approx(6e-5) and both.co2_g == pytest.approx(0.027)
    assert both.seconds == pytest.approx(7.2) and both.power_w == pytest.approx(40)
    assert both.share == pytest.approx((60 * 2.4 * 0.5 + 30 * 4.8) / (60 * 2.4 + 30 * 4.8))
    assert both.method == "RAPL and NVML" and READING.after(READING).method == "RAPL"
    lost = later.after(EnergyReading.unknown("no timely answer", 1.0))
    assert lost.energy_kwh is None and lost.seconds == pytest.approx(5.8)
    assert "no timely answer" in lost.reason


def job(data, folder, *, epochs, save_every):
    """A round as a process of its own, as a rule starts it."""
    recipe = replace(RECIPE, epochs=epochs, milestones=())
    spec = RoundSpec("c", 0, "lenet-300-100", recipe, seed=1)
    return subprocess.Popen(
        [
            sys.executable, "-m", "sdd", "train_round", "--spec", canonical(spec.to_dict()),
            "--dataset", data / "dataset.json", "--labels", data / "labels.json",
            "--parent", "--teacher", "--teacher_logits", "--output", folder / "metrics.json",
            "--log", folder / "log", "--state", folder / "state", "--save_every", str(save_every),
            "--device", "cpu",
        ],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip


def after_epoch(process, folder, epoch):
    deadline = time.monotonic() + 60
    log = folder / "log"
    while not (log.exists() and f"epoch {epoch}/" in log.read_text()):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize(
    ("how", "save_every", "said"),
    [
        (signal.SIGTERM, 3600, "interrupted: run again, it goes on from what is finished or saved"),
        (signal.SIGINT, 3600, "interrupted: run again, it goes on from what is finished or saved"),
        (signal.SIGKILL, 0, ""),
    ],
)
def test_a_job_that_is_killed_goes_on(data, tmp_path, how, save_every, said):
    process = job(data, tmp_path, epochs=12, save_every=save_every)
    after_epoch(process, tmp_path, 4)
    os.kill(process.pid, how)
    output, _ = process.communicate(timeout=30)
    assert process.returncode != 0 and said in output and "Traceback" not in output
    assert not (tmp_path / "metrics.json").exists()
    again = job(data, tmp_path, epochs=12, save_every=save_every)
    output, _ = again.communicate(timeout=60)
    assert again.returncode == 0, output
    log = (tmp_path / "log").read_text()
    assert "goes on after epoch" in log and "epoch 12/12" in log
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "log", "metrics.json", "model.safetensors", "state",
    ]  # fmt: skip
    assert not list((tmp_path / "state").rglob("*.sidecar"))
