"""One round of a chain: prune what the round before left, train, evaluate, store.

A round leaves two files side by side: `model.safetensors` and `metrics.json`, in that order.
"""

import copy
import math
import platform
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sdd import (
    checkpoint,
    compaction,
    cost,
    datasets,
    networks,
    pruning,
    teacher_logits,
    training,
)
from sdd.devices import device_name
from sdd.distillation import Targets, distillation_loss, targets
from sdd.energy import EnergyMeter, EnergyReading
from sdd.errors import CheckpointError, Divergence
from sdd.files import read_json, write_json
from sdd.labels import Labels
from sdd.labels import load as load_labels
from sdd.segment import WEIGHTS, Inputs
from sdd.settings import Distillation, Pruning, Recipe, derive_seed
from sdd.sidecar import Sidecar
from sdd.training import Batch, Objective, Samples


def run(
    spec: dict[str, Any],
    inputs: Inputs,
    *,
    output: Path,
    device: torch.device,
    sidecar: Path,
    save_every: float,
    log: Callable[[str], None],
) -> dict[str, Any]:
    """Trains the round that `spec` describes and writes it beside `output`, its metrics.

    Every `save_every` seconds, and on an interrupt, the training's state goes to `sidecar`; one
    that lies there is taken up. Returns the metrics; `log` gets a line after every epoch.
    """
    recipe = Recipe.from_dict(spec["recipe"])
    facts = read_json(inputs.dataset)
    data = datasets.load(inputs.dataset.parent)
    chosen = load_labels(inputs.labels)
    parent = read_json(inputs.parent) if inputs.parent else None
    model, masks, macs = _start(spec, facts, inputs.parent, parent, device)
    kept, total = pruning.counts(masks)

    # Dropout draws from the global generator; everything else has its own.
    torch.manual_seed(derive_seed(spec["seed"], "round", spec["round"], "dropout"))
    generator = torch.Generator().manual_seed(
        derive_seed(spec["seed"], "round", spec["round"], "batches")
    )
    place = partial(
        Samples.place, facts=facts, device=device, normalised=recipe.augmentation == "none"
    )
    samples = place(data["train_images"], chosen.train_index)
    noisy, true = _tensors(chosen, device)
    made_from = {"spec": spec, "inputs": inputs.hashes()}
    made_on = {"device": device_name(device), "torch": torch.__version__}
    aside = Sidecar(sidecar, made_from | made_on, save_every, log)
    before = aside.read()
    runs = before.runs + 1 if before else 1

    def report(epoch: training.Epoch) -> None:
        log(
            f"epoch {epoch.epoch + 1}/{recipe.epochs}  learning rate {epoch.learning_rate:g}  "
            f"loss {epoch.loss:.4f}  training accuracy {epoch.accuracy:.2f} % "
            f"({epoch.clean_accuracy:.2f} % of the true labels)"
        )

    for epoch in before.state.history if before else ():  # the log of that run is gone
        report(epoch)

    def whole(energy: EnergyReading) -> EnergyReading:
        return energy.after(before.energy) if before else energy

    with (
        EnergyMeter(device=str(device)) as meter,
        aside.keeping(lambda: whole(meter.so_far()), runs) as keep,
    ):
        objective, teacher_macs = _objective(spec, inputs, facts, noisy, recipe, log)
        small = compaction.compact(model, masks, recipe, len(samples))
        trained, trained_masks = (small.model, small.masks) if small else (model, masks)
        step_macs = small.step_macs(tuple(facts["shape"])) if small else macs.step_macs
        try:
            history = training.train(
                trained, trained_masks, samples, noisy, true, recipe, objective,
                generator=generator, report=report,
                start=before and before.state, keep=keep,
            )  # fmt: skip
        except Divergence as error:
            raise Divergence(f"{spec['chain']}, round {spec['round']}: {error}") from None
        if small:
            small.restore(model)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
    energy = whole(meter.reading)

    logits = training.predict(model, samples, recipe)
    validation = place(data["train_images"], chosen.validation_index)
    test = place(data["test_images"], None)
    scores = {
        "train": training.score(logits, noisy),
        "train_clean": training.score(logits, true),
        "validation": training.score(
            training.predict(model, validation, recipe),
            torch.from_numpy(chosen.validation_labels).to(device),
        ),
        "test": training.score(
            training.predict(model, test, recipe),
            torch.from_numpy(data["test_labels"]).long().to(device),
        ),
    }
    if not all(math.isfinite(score["loss"]) for score in scores.values()):
        raise Divergence(
            f"{spec['chain']}, round {spec['round']}: the last step of epoch {recipe.epochs - 1} "
            f"left losses that are no numbers, at learning rate "
            f"{recipe.learning_rate_at(recipe.epochs - 1):g}. Lower the recipe's learning_rate."
        )

    metrics = {
        **made_from,
        "round": spec["round"],
        "sparsity": 100 * (1 - kept / total),
        "weights_kept": kept,
        "weights_total": total,
        **scores,
        "validation_so_far": [
            *(parent["validation_so_far"] if parent else ()),
            scores["validation"]["accuracy"],
        ],
        "ended": None,  # a round after which early stopping really ended the chain
        "history": [asdict(epoch) for epoch in history],
        "noise_rate": read_json(inputs.labels)["realised_rate"],
        "macs": asdict(macs),
        "flops": cost.training_flops(macs.forward_macs, len(samples), recipe.epochs),
        "flops_computed": len(samples) * recipe.epochs * step_macs + teacher_macs,
        "train_images": len(samples),
        "seconds": energy.seconds,
        "runs": runs,
        "energy": energy.to_dict(),
        "device": made_on["device"],
        "threads": torch.get_num_threads(),
        "versions": {"python": platform.python_version(), "torch": torch.__version__},
        "weights_sha256": checkpoint.save(
            output.with_name(WEIGHTS), _arrays(model.state_dict()), _arrays(masks)
        ),
    }
    write_json(output, metrics)
    return metrics


def _start(
    spec: dict[str, Any],
    facts: dict[str, Any],
    path: Path | None,
    parent: dict[str, Any] | None,
    device: torch.device,
) -> tuple[nn.Module, pruning.Masks, cost.Cost]:
    """The model as this round's training finds it, its masks, and its cost an image.

    `parent` are the metrics of the round before, which lie at `path`.
    """
    if parent is None:
        model = networks.build(spec, facts)
        macs = cost.count(copy.deepcopy(model), tuple(facts["shape"]))
        model = networks.place(model, spec, device)
        return model, pruning.dense_masks(model), macs
    _check_spec(path, parent["spec"], spec)
    model, masks = networks.load(path, facts, device)
    weights = pruning.prunable(model)
    masks = pruning.prune(weights, masks, Pruning(**spec["pruning"]))
    pruning.apply(weights, masks)
    return model, masks, cost.Cost(**parent["macs"])


def _check_spec(parent: Path, before: dict[str, Any], spec: dict[str, Any]) -> None:
    """Raises CheckpointError unless `before` is the round before that of `spec`."""
    expected = spec | {"round": spec["round"] - 1}
    if spec["round"] == 1:  # of the dense round
        expected.pop("pruning")
        expected.pop("stopping", None)
    expected.pop("code", None)  # which the workflow has compared, if it was asked to
    wrong = [key for key in expected if before.get(key) != expected[key]]
    if wrong:
        raise CheckpointError(
            f"{parent} holds round {before['round']} of {before['chain']}, which does not precede "
            f"round {spec['round']} of {spec['chain']}: another {', '.join(wrong)}. Delete it and "
            "run snakemake again."
        )


def _objective(
    spec: dict[str, Any],
    inputs: Inputs,
    facts: dict[str, Any],
    labels: Tensor,
    recipe: Recipe,
    log: Callable[[str], None],
) -> tuple[Objective, int]:
    """What the round minimises, and the MACs that its teacher's passes cost.

    Without a teacher cross-entropy, else equation (1): with the table of the teacher's answers, or
    with the frozen teacher in evaluation mode in the loop, which sees what the student sees.
    """
    if "distillation" not in spec:
        return training.cross_entropy(labels), 0
    setting = Distillation(**spec["distillation"])

    def towards(wanted: Callable[[Batch], Targets]) -> Objective:
        return lambda logits, batch: distillation_loss(logits, wanted(batch), setting)

    def asking(answers: Callable[[Batch], Tensor]) -> Objective:
        return towards(
            lambda batch: targets(answers(batch), labels.index_select(0, batch.index), setting)
        )

    if inputs.teacher_logits:
        table = teacher_logits.load(
            inputs.teacher_logits,
            labels.device,
            images=len(labels),
            augmentation=recipe.augmentation,
        )
        if recipe.augmentation == "none":
            fixed = targets(table.of_all(), labels, setting)
            return towards(lambda batch: fixed.at(batch.index)), 0
        return asking(lambda batch: table(batch.index, batch.outcomes)), 0

    log("the teacher is in the loop: a table of its answers would be above largest_table")
    network, _ = networks.load(inputs.teacher, facts, labels.device)
    network.eval().requires_grad_(False)
    taught = read_json(inputs.teacher)
    its_recipe = Recipe.from_dict(taught["spec"]["recipe"])

    @torch.no_grad()
    def answers(batch: Batch) -> Tensor:
        return training.forward(network, batch.inputs, its_recipe)

    return asking(answers), len(labels) * recipe.epochs * taught["macs"]["forward_macs"]


def _tensors(labels: Labels, device: torch.device) -> tuple[Tensor, Tensor]:
    return (
        torch.from_numpy(labels.train_labels).to(device),
        torch.from_numpy(labels.train_true_labels).to(device),
    )


def _arrays(tensors: dict[str, Tensor]) -> checkpoint.Arrays:
    return {name: tensor.detach().cpu().contiguous().numpy() for name, tensor in tensors.items()}
