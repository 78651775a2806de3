"""Real rounds on a pretended GPU: CUDA would refuse nothing in them, and they give the CPU's bits.

The quick ones run always; all of them, and what must be found when it is planted, with
`pytest -m long`.
"""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import ROOT
from pretended_gpu import CUDA, NAME, Graph, RefusedByCuda, pretended
from torch.optim.sgd import sgd

from sdd.data import labelling, own, preparation
from sdd.data.settings import DatasetSpec, LabelsSpec, Noise, Validation
from sdd.rounds import round as one_round
from sdd.rounds import teacher_logits
from sdd.rounds.inputs import Inputs
from sdd.sparsity.compaction import fewer_units
from sdd.study.metrics import RoundMetrics
from sdd.study.settings import Distillation, Pruning, Recipe, Rewinding
from sdd.study.specs import RoundSpec, TeacherLogitsSpec
from sdd.training.loop import train

CPU = torch.device("cpu")
PLAIN = Recipe("sgd", 0.05, 1e-4, 8, 2, "multistep", momentum=0.9, milestones=(1,))
AUGMENTED = replace(PLAIN, augmentation="flip-crop")
FAST = replace(AUGMENTED, precision="bfloat16", channels_last=True)
# Of numbers that single precision holds: CUDA's kernels take learning rates in no other.
ADAMW = replace(AUGMENTED, optimizer="adamw", learning_rate=2**-13, factor=0.25)


@dataclass(frozen=True)
class Case:
    """A dense round, and one that prunes so much of it, of the model by the recipe."""

    model: str
    recipe: Recipe
    fraction: float = 0.5
    changes: tuple[tuple[str, object], ...] = ()  # to its spec or its pruning
    teacher: str | None = None  # a model's name
    tabulated: bool = False  # the teacher's logits; else it is in the loop
    interrupted: bool = False  # the dense round, after its first epoch
    fewer_units: bool = False  # the pruned round trains a smaller network
    long: bool = True


CASES = {
    "mlp": Case("mlp-20-10", replace(PLAIN, momentum=0.0), 0.99, fewer_units=True, long=False),
    "mlp resumed": Case("mlp-20-10", PLAIN, interrupted=True, long=False),
    "mlp of a table": Case("mlp-20-10", PLAIN, teacher="mlp-20-10", tabulated=True),
    "mlp of a teacher": Case("mlp-20-10", PLAIN, teacher="mlp-20-10"),
    "vgg": Case("vgg-3-2", AUGMENTED, 0.2),
    "vgg with fewer units": Case("vgg-5-2", AUGMENTED, 0.99, fewer_units=True, long=False),
    "vgg of a table": Case("vgg-3-2", AUGMENTED, teacher="vgg-3-2", tabulated=True, long=False),
    "vgg in bfloat16 resumed": Case("vgg-3-2", FAST, interrupted=True),
    "vgg in bfloat16 with fewer units": Case("vgg-5-2", FAST, 0.99, fewer_units=True),
    "vgg in bfloat16 of a table": Case("vgg-3-2", FAST, teacher="vgg-3-2", tabulated=True),
    "vgg in bfloat16 of a teacher": Case("vgg-3-2", FAST, teacher="mlp-20-10", long=False),
    "resnet18": Case("resnet18-4", AUGMENTED),
    "resnet18 in bfloat16": Case("resnet18-4", FAST, long=False),
    "resnet18 in bfloat16 with fewer units": Case("resnet18-32", FAST, 0.99, fewer_units=True),
    # Not in bfloat16: its last maps have one pixel, and a CPU does not always give them alike.
    "resnet18-maxpool": Case("resnet18-maxpool", replace(AUGMENTED, channels_last=True)),
    "vit resumed": Case("vit-64-1", ADAMW, interrupted=True),
    "vit in bfloat16": Case("vit-64-1", replace(ADAMW, precision="bfloat16"), long=False),
    "vit of a table": Case("vit-64-1", PLAIN, teacher="mlp-20-10", tabulated=True),
    "by gradients": Case("vgg-3-2", AUGMENTED, changes=(("criterion", "gradient"),), long=False),
    "at random": Case("mlp-20-10", PLAIN, changes=(("criterion", "random"),)),
    "fine-tuning": Case("mlp-20-10", PLAIN, changes=(("retraining", "fine-tuning"),)),
    "weight rewinding": Case("vgg-3-2", FAST, changes=(("retraining", "weight-rewinding"),)),
    "weights from within the dense training": Case(
        "vgg-3-2", AUGMENTED,
        changes=(("retraining", "weight-rewinding"), ("rewinding", Rewinding(steps=3))),
    ),
    "new weights": Case("vgg-3-2", FAST, changes=(("retraining", "reinitialisation"),)),
}  # fmt: skip


@pytest.fixture(scope="session")
def colours(tmp_path_factory) -> Path:
    """Forty images of 8 x 8 pixels and three colours: batches of 8, and a last one of 4."""
    folder = tmp_path_factory.mktemp("colours")
    random, arrays = np.random.default_rng(0), {}
    for part, count in (("train", 36), ("test", 6)):
        arrays[f"{part}_images"] = random.integers(256, size=(count, 8, 8, 3), dtype=np.uint8)
        arrays[f"{part}_labels"] = np.arange(count) % 4
    np.savez(folder / "colours.npz", **arrays)
    known = own.survey("colours", folder / "colours.npz", None)
    spec = DatasetSpec("colours", own=True, content=known.content)
    preparation.prepare(spec, folder / "colours.npz", folder / "dataset.json")
    labels = LabelsSpec(Noise("symmetric", 0.4), Validation(0.2), seed=1)
    labelling.make(labels, folder / "dataset.json", folder / "labels.json")
    return folder


@dataclass(frozen=True)
class Runner:
    """Rounds on the data in one folder, with their files in another, on a device."""

    data: Path
    folder: Path
    device: torch.device

    def inputs(self, **others: Path | None) -> Inputs:
        return Inputs(self.data / "dataset.json", self.data / "labels.json", **others)

    def run(self, spec: RoundSpec, inputs: Inputs, log=lambda line: None) -> RoundMetrics:
        return one_round.run(
            spec, inputs, output=self.metrics(spec), device=self.device,
            sidecar=self.folder / "sidecar", save_every=0, log=log,
        )  # fmt: skip

    def metrics(self, spec: RoundSpec) -> Path:
        return self.folder / f"{spec.chain}{spec.round}" / "metrics.json"

    def taught(self, spec: RoundSpec, case: Case) -> dict[str, Path]:
        """What a student gets, beside its data."""
        if case.teacher is None:
            return {}
        teacher = replace(spec, chain="teacher", model=case.teacher, distillation=None)
        self.run(teacher, self.inputs())
        (self.folder / "sidecar").unlink()
        given = {"teacher": self.metrics(teacher)}
        if case.tabulated:
            given["teacher_logits"] = self.folder / "table" / "logits.json"
            teacher_logits.make(
                TeacherLogitsSpec(spec.recipe.augmentation), dataset=self.data / "dataset.json",
                labels=self.data / "labels.json", teacher=given["teacher"],
                output=given["teacher_logits"], device=self.device, log=lambda line: None,
            )  # fmt: skip
        return given

    def chain(self, case: Case) -> list[RoundMetrics]:
        distillation = Distillation(0.8, 10.0) if case.teacher else None
        changes = dict(case.changes)
        dense = RoundSpec(
            "c", 0, case.model, case.recipe, 1, distillation=distillation,
            rewinding=changes.pop("rewinding", None),
        )  # fmt: skip
        given = self.taught(dense, case)
        lines: list[str] = []
        if case.interrupted:
            with pytest.raises(KeyboardInterrupt):
                self.run(dense, self.inputs(**given), interrupt)
        first = self.run(dense, self.inputs(**given), lines.append)
        assert any("goes on after epoch 1" in line for line in lines) == case.interrupted
        (self.folder / "sidecar").unlink()
        criterion = changes.pop("criterion", "magnitude")
        sparse = replace(
            dense, round=1, pruning=Pruning(case.fraction, criterion=criterion),
            **{"retraining": "learning-rate-rewinding", **changes},
        )  # fmt: skip
        if dense.rewinding:
            given["origin"] = self.metrics(dense)
        return [first, self.run(sparse, self.inputs(parent=self.metrics(dense), **given))]


def interrupt(line: str) -> None:
    if line.startswith("epoch 2/"):
        raise KeyboardInterrupt


def parameters() -> list:
    """All cases, most of them long."""
    return [
        pytest.param(case, id=name, marks=[pytest.mark.long] if case.long else [])
        for name, case in CASES.items()
    ]


def compared(case: Case, colours: Path, folder: Path, monkeypatch) -> None:
    """The same chain on both must end with the same bits."""
    with pretended():
        on_gpu = Runner(colours, folder / "gpu", CUDA).chain(case)
    # As on a GPU: the CPU has a way of its own to multiply, and no graphs.
    monkeypatch.setattr(one_round, "compact", fewer_units)
    monkeypatch.setattr(one_round, "train", train)
    on_cpu = Runner(colours, folder / "cpu", CPU).chain(case)
    for gpu, cpu in zip(on_gpu, on_cpu, strict=True):
        assert (gpu.device, gpu.instruction_set) == (NAME, "sm_90")
        assert replace(
            gpu, device=cpu.device, instruction_set=cpu.instruction_set, kernels=cpu.kernels,
            seconds=cpu.seconds, energy=cpu.energy,
        ) == cpu  # fmt: skip
    fewer = on_gpu[1].flops_computed < on_gpu[0].flops_computed
    assert fewer == case.fewer_units


@pytest.mark.parametrize("case", parameters())
def test_cuda_refuses_nothing_and_the_bits_are_the_cpus(case, colours, tmp_path, monkeypatch):
    compared(case, colours, tmp_path, monkeypatch)


def graphs() -> list:
    """Cases that are not interrupted: before a second epoch there is no graph yet."""
    quick = {"vgg of a table", "vit in bfloat16"}
    return [
        pytest.param(case, id=name, marks=[] if name in quick else [pytest.mark.long])
        for name, case in CASES.items()
        if not case.interrupted
    ]


@pytest.mark.parametrize("case", graphs())
def test_captured_steps_have_the_same_bits(case, colours, tmp_path, monkeypatch):
    """Nothing in a step forbids it: none waits for the GPU, and all use the same memory."""
    monkeypatch.setattr(one_round, "train", partial(train, captured=True))
    compared(case, colours, tmp_path, monkeypatch)
    assert Graph.replays > 0


def test_what_cuda_would_refuse_is_refused():
    with pretended():
        there, here = torch.ones(3, device="cuda"), torch.ones(3)
        assert there.device == CUDA and (there + torch.tensor(2.0)).sum().item() == 9
        assert torch.equal(there[torch.tensor([0, 2])].cpu(), here[:2])
        for refused in (
            lambda: there + here,
            lambda: there.index_select(0, torch.tensor([0])),
            lambda: here[there.long()],
            lambda: there.numpy(),
            lambda: torch.rand(3, generator=torch.Generator(), device="cuda"),
            lambda: there.bernoulli(generator=torch.Generator()),
            lambda: torch.cuda.set_rng_state(there.byte()),
        ):
            with pytest.raises(RefusedByCuda):
                refused()


def test_a_fused_optimizer_is_refused_what_lies_in_another_layout():
    shape = 4, 3, 2, 2
    with pretended(), torch.no_grad():
        last = torch.ones(shape, device="cuda").to(memory_format=torch.channels_last)
        for momentum, refused in ((torch.zeros_like(last), False),
                                  (torch.zeros(shape, device="cuda"), True)):  # fmt: skip
            step = lambda m=momentum: sgd(  # noqa: E731
                [last], [last.clone()], [m], fused=True, foreach=False, nesterov=False,
                maximize=False, has_sparse_grad=False, momentum=0.9, dampening=0, lr=0.1,
                weight_decay=0.0,
            )  # fmt: skip
            if refused:
                with pytest.raises(RefusedByCuda, match="strides differ"):
                    step()
            else:
                step()


# File, what stands there, what is planted in its place, and the case that must find it.
FAULTS = {
    "masks stay on the CPU": (
        "rounds/network.py", "torch.from_numpy(mask).to(device)", "torch.from_numpy(mask)", "mlp",
    ),
    "the order stays on the CPU": (
        "training/samples.py", "generator=generator).to(device)", "generator=generator)", "mlp",
    ),
    "the outcomes stay on the CPU": (
        "training/samples.py", "draw(len(samples), generator).to(device)",
        "draw(len(samples), generator)", "vgg of a table",
    ),
    "labels stay on the CPU": (
        "rounds/round.py", "torch.from_numpy(labels).to(self.device)", "torch.from_numpy(labels)",
        "mlp",
    ),
    "a range on the CPU": (
        "training/augmentation.py", "torch.arange(height, device=images.device)",
        "torch.arange(height)", "vgg of a table",
    ),
    "AdamW's steps on the CPU": (
        "training/optimizer.py", "torch.zeros((), device=p.device)", "torch.zeros(())",
        "vit in bfloat16",
    ),
    "momenta of another layout": (
        "training/optimizer.py", "self._momenta = [torch.zeros_like(p) for p",
        "self._momenta = [torch.zeros(p.shape, device=p.device) for p", "resnet18 in bfloat16",
    ),
    "weights stored from the GPU": (
        "rounds/round.py", "tensor.detach().cpu().contiguous()", "tensor.detach().contiguous()",
        "mlp",
    ),
    "a generator of the CPU": (
        "training/augmentation.py", "device=generator.device)", 'device="cuda:0")',
        "vgg of a table",
    ),
    "a sidecar from the GPU": (
        "rounds/resume.py", "tensor.cpu().contiguous()", "tensor.contiguous()", "mlp resumed",
    ),
    "the teacher stays on the CPU": (
        "rounds/objective.py", "read_network(inputs.teacher, facts, labels.device)",
        'read_network(inputs.teacher, facts, torch.device("cpu"))', "vgg in bfloat16 of a teacher",
    ),
    "the table stays on the CPU": (
        "rounds/teacher_logits.py", '["logits"]).to(device)', '["logits"])', "vgg of a table",
    ),
    "the first weights stay on the CPU": (
        "training/diagnostics.py", "first[name].to(weight)", "first[name]", "mlp",
    ),
    "the gradients' batch stays on the CPU": (
        "rounds/round.py", "index = index.to(data.device)", "pass", "by gradients",
    ),
    "the CPU's products on the GPU": (
        "sparsity/compaction.py", "return fewer_units(model, masks, recipe, samples)\n",
        "return faster_products(model, masks)\n", "mlp",
    ),
}  # fmt: skip


# The same of what a captured step must not do, which tests/training/test_step.py must find.
FAULTS_IN_A_GRAPH = {
    "a step that looks at its loss": (
        "training/step.py", "        self.backward(loss)\n",
        "        assert loss.item() < 1e9\n        self.backward(loss)\n",
    ),
    "a batch at another place each time": (
        "training/step.py", "self._batch.become(batch)", "self._batch = batch.copy()",
    ),
    "a learning rate at another place each time": (
        "training/optimizer.py", "self._learning_rate.fill_(value)",
        "self._learning_rate = torch.full_like(self._learning_rate, value)",
    ),
    "logits that the next step overwrites": (
        "training/step.py", "return loss.clone(), logits.clone()", "return loss, logits",
    ),
    "batches that a graph does not count": ("training/step.py", "counter += rise", "pass"),
}  # fmt: skip


def test_what_is_planted_has_its_place():
    for name, (file, there, *_) in (FAULTS | FAULTS_IN_A_GRAPH).items():
        assert there in (ROOT / "sdd" / file).read_text("utf-8"), name
    assert not any(CASES[case].long for *_, case in FAULTS.values())


def planted_faults() -> list:
    """Where to plant what, and the test that must fail."""
    here = f"tests/rounds/{Path(__file__).name}::"
    here += test_cuda_refuses_nothing_and_the_bits_are_the_cpus.__name__
    captured = "tests/training/test_step.py::test_a_captured_training_is_the_same"
    faults = {name: (*fault, f"{here}[{case}]") for name, (*fault, case) in FAULTS.items()}
    faults |= {name: (*fault, captured) for name, fault in FAULTS_IN_A_GRAPH.items()}
    return [pytest.param(*fault, id=name) for name, fault in faults.items()]


@pytest.mark.long
@pytest.mark.parametrize("file, there, planted, test", planted_faults())
def test_what_is_planted_is_found(file, there, planted, test, tmp_path):
    for name in ("sdd", "tests"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, tmp_path / name, ignore=ignored)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    path = tmp_path / "sdd" / file
    path.write_text(path.read_text("utf-8").replace(there, planted), "utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", test],
        cwd=tmp_path, env=os.environ | {"PYTHONPATH": ""}, text=True, capture_output=True,
    )  # fmt: skip
    assert done.returncode == 1 and "1 failed" in done.stdout, done.stdout
