"""One round of a chain: start from what the round before left, train, evaluate, record.

A round leaves two files side by side: `model.safetensors` and `metrics.json`, in that order.
"""

import copy
import math
import platform
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from sdd.base import layout
from sdd.base.errors import CheckpointError, Divergence, StudyError
from sdd.base.names import load
from sdd.base.records import to_dict
from sdd.base.seeds import derive_seed
from sdd.data.arrays import Arrays, read_dataset
from sdd.data.facts import DatasetFacts, read_facts, read_label_facts
from sdd.data.labels import ChainLabels, read_labels
from sdd.machine.devices import device_name, instruction_set
from sdd.machine.energy import EnergyMeter
from sdd.machine.reading import EnergyReading
from sdd.models.build import seeded
from sdd.rounds.inputs import Inputs
from sdd.rounds.network import new_network, place_network, read_network
from sdd.rounds.objective import objective_of
from sdd.rounds.resume import Sidecar
from sdd.rounds.retraining import Origins
from sdd.sparsity import masks as sparsity
from sdd.sparsity.checkpoint import EARLY, read_early, write_checkpoint
from sdd.sparsity.compaction import compact, knows
from sdd.sparsity.cost import count, training_flops
from sdd.sparsity.criteria import Evidence
from sdd.sparsity.histogram import histogram
from sdd.sparsity.kernel_choice import kernels_for
from sdd.sparsity.masks import Masks
from sdd.study.methods import CRITERIA, RETRAININGS
from sdd.study.metrics import (
    Diagnostics,
    Epoch,
    Hashes,
    Layer,
    Macs,
    RoundMetrics,
    Score,
    read_metrics,
    write_metrics,
)
from sdd.study.specs import RoundSpec
from sdd.training.diagnostics import (
    Activity,
    calibration_error,
    learning_distance,
    live_units,
    top_accuracy,
)
from sdd.training.divergence import what_may_help
from sdd.training.evaluation import forward, predict, score
from sdd.training.loop import State, train
from sdd.training.samples import Samples

Log = Callable[[str], None]


def run(
    spec: RoundSpec,
    inputs: Inputs,
    *,
    output: Path,
    device: torch.device,
    sidecar: Path,
    save_every: float,
    log: Log,
    orphaned: Callable[[], str | None] = lambda: None,
) -> RoundMetrics:
    """Trains the round that `spec` describes and writes it beside `output`, its metrics.

    Every `save_every` seconds, and on an interrupt, the training's state goes to `sidecar`; one
    that lies there is taken up. Returns the metrics; `log` gets a line after every epoch. Raises
    Orphaned after an epoch at whose end `orphaned` has a reason.
    """
    data = Data.read(inputs, device)
    begin = start(spec, inputs, data)
    hashes = inputs.hashes()
    stamp = {
        "spec": spec.to_dict(),
        "inputs": asdict(hashes),
        "device": device_name(device),
        "instruction_set": instruction_set(device),
        "kernels": to_dict(kernels_for(spec.recipe, device)),
        "torch": str(torch.__version__),
    }
    kept = Sidecar(sidecar, stamp, save_every, log, orphaned)
    trained = train_round(spec, inputs, data, begin, kept, log)
    scores, diagnostics = evaluate(spec, data, begin)
    metrics = record(spec, hashes, data, begin, trained, scores, output)
    metrics = replace(metrics, diagnostics=diagnostics)
    write_metrics(output, metrics)
    return metrics


@dataclass(frozen=True)
class Data:
    """The images and labels of a round, and on which device it uses them."""

    facts: DatasetFacts
    arrays: Arrays
    labels: ChainLabels
    noise_rate: float | None  # realised; None: the true labels are not known
    device: torch.device

    @classmethod
    def read(cls, inputs: Inputs, device: torch.device) -> "Data":
        return cls(
            read_facts(inputs.dataset),
            read_dataset(inputs.dataset),
            read_labels(inputs.labels),
            read_label_facts(inputs.labels).realised_rate,
            device,
        )

    def samples(self, spec: RoundSpec, part: str) -> Samples:
        """The images to train on, to validate on or to test on."""
        images, index = {
            "train": (self.arrays["train_images"], self.labels.train_index),
            "validation": (
                self.arrays.get("validation_images", self.arrays["train_images"]),
                self.labels.validation_index,
            ),
            "test": (self.arrays["test_images"], None),
        }[part]
        fixed = spec.recipe.augmentation == "none"
        return Samples.place(images, index, self.facts, device=self.device, normalised=fixed)

    def on_device(self, labels: NDArray) -> Tensor:
        return torch.from_numpy(labels).to(self.device)

    @property
    def true_labels(self) -> Tensor | None:
        """Of the training images, where they are known."""
        labels = self.labels.train_true_labels
        return None if labels is None else self.on_device(labels)


@dataclass(frozen=True)
class Start:
    """What a round's training starts from."""

    model: nn.Module
    masks: Masks
    macs: Macs  # of the dense model
    validation_so_far: tuple[float, ...]  # of the rounds before


def start(spec: RoundSpec, inputs: Inputs, data: Data) -> Start:
    """A new model, or that of the round before: pruned, and set back as the retraining says."""
    facts = data.facts
    if inputs.parent is None:
        model = new_network(spec, facts)
        macs = count(copy.deepcopy(model), facts.shape)
        model = place_network(model, spec.recipe, data.device)
        return Start(model, sparsity.dense_masks(model), macs, ())
    before = read_metrics(inputs.parent)
    if wrong := spec.follows(before.spec):
        raise CheckpointError(
            f"{inputs.parent} holds round {before.round} of {before.spec.chain}, which does not "
            f"precede round {spec.round} of {spec.chain}: another {', '.join(wrong)}. Delete it "
            "and run snakemake again."
        )
    model, masks = read_network(inputs.parent, facts, data.device)
    weights = sparsity.prunable(model)
    seed = derive_seed(spec.seed, "round", spec.round, "criterion")
    evidence = Evidence(
        weights, masks,
        gradients=lambda: _gradients(model, spec, data, seed),
        generator=torch.Generator().manual_seed(seed),
    )  # fmt: skip
    scores = load(CRITERIA[spec.pruning.criterion])(evidence)
    masks = sparsity.prune(scores, masks, spec.pruning, times=spec.round - before.round)
    load(RETRAININGS[spec.retraining])(
        model,
        Origins(
            rewound=lambda: _rewound(spec, inputs, facts),
            drawn=lambda: new_network(spec, facts, "round", spec.round).state_dict(),
        ),
    )
    sparsity.apply(weights, masks)
    return Start(model, masks, before.macs, before.validation_so_far)


def _gradients(model: nn.Module, spec: RoundSpec, data: Data, seed: int) -> dict[str, Tensor]:
    """Of the cross-entropy on a batch of training images, drawn from `seed`, not augmented.

    In training mode, as He et al. take them; the model itself, its statistics too, stays as it is.
    """
    samples, labels = data.samples(spec, "train"), data.on_device(data.labels.train_labels)
    draws = torch.Generator().manual_seed(seed)
    index = torch.randperm(len(samples), generator=draws)[: spec.recipe.batch_size]
    index = index.to(data.device)
    taken = copy.deepcopy(model).train()
    with seeded(seed):  # dropout
        logits = forward(taken, samples.normalise(samples.take(index)), spec.recipe)
    F.cross_entropy(logits, labels[index]).backward()
    return {name: weight.grad for name, weight in sparsity.prunable(taken).items()}


def _rewound(spec: RoundSpec, inputs: Inputs, facts: DatasetFacts) -> dict[str, Tensor]:
    """The chain's first weights, or those that its dense round has stored on its way."""
    if spec.rewinding is None:
        return new_network(spec, facts).state_dict()
    metrics = read_metrics(inputs.origin)
    early = read_early(layout.data_of(inputs.origin), metrics.weights_sha256)
    return {name: torch.from_numpy(value) for name, value in early.items()}


@dataclass(frozen=True)
class Trained:
    """What a training has left beside the weights."""

    history: tuple[Epoch, ...]
    energy: EnergyReading
    runs: int  # jobs that have worked at it
    computed_macs: int  # really, the teacher's included
    early: dict[str, Tensor]  # the state that later rounds go back to; often none


@dataclass(frozen=True)
class Passage:
    """The model's state after one step of a training, once it has been there; a resumed training
    finds it among the tensors of what was kept."""

    step: int | None  # counted from 1; None: none is wanted
    state: dict[str, Tensor]

    @classmethod
    def of(cls, spec: RoundSpec, images: int, earlier: State | None) -> "Passage":
        wanted = spec.rewinding if spec.round == 0 else None
        step = wanted.step(images, spec.recipe) if wanted else None
        kept = earlier.tensors if earlier else {}
        return cls(step, {n.removeprefix(EARLY): t for n, t in kept.items() if n.startswith(EARLY)})

    def watch(self, model: nn.Module, step: int) -> None:
        if step == self.step:
            self.state.update({n: tensor.clone() for n, tensor in model.state_dict().items()})

    def with_it(self, state: State) -> State:
        if not self.state:
            return state
        early = {f"{EARLY}{name}": tensor for name, tensor in self.state.items()}
        return replace(state, tensors=state.tensors | early)


def train_round(
    spec: RoundSpec, inputs: Inputs, data: Data, begin: Start, sidecar: Sidecar, log: Log
) -> Trained:
    """Trains the model in place, from the state in the sidecar if there is one.

    Raises Divergence, naming the round, when the loss leaves the finite numbers.
    """
    # Dropout draws from the global generator; everything else has its own.
    torch.manual_seed(derive_seed(spec.seed, "round", spec.round, "dropout"))
    generator = torch.Generator().manual_seed(
        derive_seed(spec.seed, "round", spec.round, "batches")
    )
    samples = data.samples(spec, "train")
    noisy = data.on_device(data.labels.train_labels)
    true = data.true_labels
    earlier = sidecar.read()
    runs = earlier.runs + 1 if earlier else 1
    passage = Passage.of(spec, len(samples), earlier and earlier.state)
    report = partial(_report, log, spec.recipe.epochs)
    for epoch in earlier.state.history if earlier else ():  # the log of that run is gone
        report(epoch)

    def whole(energy: EnergyReading) -> EnergyReading:
        return energy.after(earlier.energy) if earlier else energy

    with (
        EnergyMeter(device=str(data.device)) as meter,
        sidecar.keeping(lambda: whole(meter.so_far()), runs) as keep,
    ):
        objective, teacher_macs = objective_of(spec, inputs, data.facts, noisy, log)
        small = compact(begin.model, begin.masks, spec.recipe, len(samples))
        if spec.round and not knows(begin.model):
            log(f"{spec.model} is trained masked: no smaller network behind it is known")
        if not sparsity.counts(begin.masks)[0]:
            log("no weight is left: only biases and normalisations are trained")
        model, masks = (small.model, small.masks) if small else (begin.model, begin.masks)
        step_macs = small.step_macs(data.facts.shape) if small else begin.macs.step_macs
        try:
            history = train(
                model, masks, samples, noisy, true, spec.recipe, objective,
                generator=generator, report=report,
                start=earlier and earlier.state, keep=lambda s: keep(passage.with_it(s)),
                stepped=partial(passage.watch, model) if passage.step else None,
            )  # fmt: skip
        except (Divergence, StudyError) as error:
            raise type(error)(f"{spec.chain}, round {spec.round}: {error}") from None
        if small:
            small.restore(begin.model)
        if data.device.type == "cuda":
            torch.cuda.synchronize(data.device)
    computed = len(samples) * spec.recipe.epochs * step_macs + teacher_macs
    return Trained(history, whole(meter.reading), runs, computed, passage.state)


def _report(log: Log, epochs: int, epoch: Epoch) -> None:
    clean = epoch.clean_accuracy
    true = "true labels unknown" if clean is None else f"{clean:.2f} % of the true labels"
    log(
        f"epoch {epoch.epoch + 1}/{epochs}  learning rate {epoch.learning_rate:g}  "
        f"loss {epoch.loss:.4f}  training accuracy {epoch.accuracy:.2f} % ({true})"
    )


def evaluate(spec: RoundSpec, data: Data, begin: Start) -> tuple[dict[str, Score], Diagnostics]:
    """Accuracies and losses after the last epoch, and what else the same passes tell.

    Raises Divergence for a loss that is no number.
    """
    labels, true, on_device = data.labels, data.true_labels, data.on_device
    activity = Activity()
    of = {
        part: predict(
            begin.model, data.samples(spec, part), spec.recipe,
            activity if part == "train" else None,
        )
        for part in ("train", "validation", "test")
    }  # fmt: skip
    test_labels = on_device(data.arrays["test_labels"]).long()
    scores = {
        "train": score(of["train"], on_device(labels.train_labels)),
        "train_clean": Score() if true is None else score(of["train"], true),
        "validation": score(of["validation"], on_device(labels.validation_labels)),
        "test": score(of["test"], test_labels),
    }
    wrong = [
        part.replace("_clean", " (true labels)")
        for part, score in scores.items()
        if score.loss is not None and not math.isfinite(score.loss)
    ]
    if wrong:
        last = spec.recipe.epochs - 1
        raise Divergence(
            f"{spec.chain}, round {spec.round}: the last step of epoch {last} left losses that are "
            f"no numbers ({', '.join(wrong)}), at learning rate "
            f"{spec.recipe.learning_rate_at(last):g}. {what_may_help(spec.recipe)}"
        )
    first = dict(new_network(spec, data.facts).named_parameters())
    diagnostics = Diagnostics(
        learning_distance(dict(begin.model.named_parameters()), first, begin.masks),
        activity.entropy(),
        calibration_error(of["test"], test_labels),
        top_accuracy(of["test"], test_labels),
        tuple(
            Layer(name, int(mask.sum()), mask.numel(), live_units(mask), len(mask))
            for name, mask in begin.masks.items()
        ),
    )
    return scores, diagnostics


def record(
    spec: RoundSpec,
    hashes: Hashes,
    data: Data,
    begin: Start,
    trained: Trained,
    scores: dict[str, Score],
    output: Path,
) -> RoundMetrics:
    """Writes the weights beside `output`, and returns the metrics that vouch for them."""
    kept, total = sparsity.counts(begin.masks)
    images = len(data.labels.train_index)
    state, masks = _arrays(begin.model.state_dict()), _arrays(begin.masks)
    early = _arrays(trained.early)
    digest = write_checkpoint(layout.data_of(output), state, masks, early)
    return RoundMetrics(
        spec=spec,
        inputs=hashes,
        round=spec.round,
        sparsity=100 * (1 - kept / total),
        weights_kept=kept,
        weights_total=total,
        **scores,
        validation_so_far=(*begin.validation_so_far, scores["validation"].accuracy),
        ended=None,
        history=trained.history,
        noise_rate=data.noise_rate,
        macs=begin.macs,
        flops=training_flops(begin.macs.forward_macs, images, spec.recipe.epochs),
        flops_computed=trained.computed_macs,
        train_images=images,
        seconds=trained.energy.seconds,
        runs=trained.runs,
        energy=trained.energy,
        device=device_name(data.device),
        threads=torch.get_num_threads(),
        versions={"python": platform.python_version(), "torch": str(torch.__version__)},
        weights_sha256=digest,
        instruction_set=instruction_set(data.device),
        weights=histogram(state, masks),
        kernels=kernels_for(spec.recipe, data.device),
    )


def _arrays(tensors: dict[str, Tensor]) -> Arrays:
    return {name: tensor.detach().cpu().contiguous().numpy() for name, tensor in tensors.items()}
