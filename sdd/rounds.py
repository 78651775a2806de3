"""One round of a chain: prune what the round before left, train, evaluate, store.

A round leaves two files side by side: `model.safetensors` and `metrics.json`, in that order.
"""

import copy
import math
import platform
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sdd import checkpoint, compaction, cost, datasets, models, pruning, training
from sdd.distillation import distillation_loss
from sdd.energy import EnergyMeter, cpu_brand
from sdd.errors import CheckpointError, DeviceError, Divergence
from sdd.files import read_json, write_json
from sdd.labels import Labels
from sdd.labels import load as load_labels
from sdd.segment import WEIGHTS, Inputs
from sdd.settings import Distillation, Pruning, Recipe, derive_seed
from sdd.training import Batch, Objective, Samples


def run(
    spec: dict[str, Any],
    inputs: Inputs,
    *,
    output: Path,
    device: torch.device,
    log: Callable[[str], None],
) -> dict[str, Any]:
    """Trains the round that `spec` describes and writes it beside `output`, its metrics.

    Returns the metrics; `log` gets a line after every epoch.
    """
    recipe = Recipe.from_dict(spec["recipe"])
    facts = read_json(inputs.dataset)
    data = datasets.load(inputs.dataset.parent)
    chosen = load_labels(inputs.labels)
    model, masks, macs = _start(spec, facts, inputs.parent, device)
    kept, total = pruning.counts(masks)

    # Dropout draws from the global generator; everything else has its own.
    torch.manual_seed(derive_seed(spec["seed"], "round", spec["round"], "dropout"))
    generator = torch.Generator().manual_seed(
        derive_seed(spec["seed"], "round", spec["round"], "batches")
    )
    samples = _place(data["train_images"], chosen.train_index, facts, recipe, device)
    noisy, true = _tensors(chosen, device)
    history: list[training.Epoch] = []

    def report(epoch: training.Epoch) -> None:
        history.append(epoch)
        log(
            f"epoch {epoch.epoch + 1}/{recipe.epochs}  learning rate {epoch.learning_rate:g}  "
            f"loss {epoch.loss:.4f}  training accuracy {epoch.accuracy:.2f} % "
            f"({epoch.clean_accuracy:.2f} % of the true labels)"
        )

    started = time.perf_counter()
    with EnergyMeter(device=str(device)) as meter:
        if inputs.teacher is None:
            objective, teacher_macs = training.cross_entropy(noisy), 0
        else:
            setting = Distillation(**spec["distillation"])
            objective = _distilled(setting, inputs.teacher, facts, samples, noisy, recipe)
            teacher_macs = read_json(inputs.teacher)["macs"]["forward_macs"]
        small = compaction.compact(model, masks, recipe, len(samples))
        trained, trained_masks = (small.model, small.masks) if small else (model, masks)
        step_macs = small.step_macs(tuple(facts["shape"])) if small else macs.step_macs
        try:
            training.train(
                trained, trained_masks, samples, noisy, true, recipe, objective,
                generator=generator, report=report,
            )  # fmt: skip
        except Divergence as error:
            raise Divergence(f"{spec['chain']}, round {spec['round']}: {error}") from None
        if small:
            small.restore(model)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
    seconds = time.perf_counter() - started

    logits = training.predict(model, samples, recipe)
    validation = _place(data["train_images"], chosen.validation_index, facts, recipe, device)
    test = _place(data["test_images"], None, facts, recipe, device)
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

    # The teacher sees every batch under augmentation, else every image once.
    teacher_passes = 1 if recipe.augmentation == "none" else recipe.epochs
    metrics = {
        "spec": spec,
        "inputs": inputs.hashes(),
        "round": spec["round"],
        "sparsity": 100 * (1 - kept / total),
        "weights_kept": kept,
        "weights_total": total,
        **scores,
        "history": [asdict(epoch) for epoch in history],
        "noise_rate": read_json(inputs.labels)["realised_rate"],
        "macs": asdict(macs),
        "flops": cost.training_flops(macs.forward_macs, len(samples), recipe.epochs),
        "flops_computed": len(samples)
        * (recipe.epochs * step_macs + teacher_passes * teacher_macs),
        "train_images": len(samples),
        "seconds": seconds,
        "energy": meter.reading.to_dict(),
        "device": _device_name(device),
        "threads": torch.get_num_threads(),
        "versions": {"python": platform.python_version(), "torch": torch.__version__},
        "weights_sha256": checkpoint.save(
            output.with_name(WEIGHTS), _arrays(model.state_dict()), _arrays(masks)
        ),
    }
    write_json(output, metrics)
    return metrics


def load_model(
    metrics_path: Path, facts: dict[str, Any], device: torch.device
) -> tuple[nn.Module, pruning.Masks]:
    """A finished round's model and masks, from its metrics and the weights beside them."""
    metrics = read_json(metrics_path)
    state, masks = checkpoint.load(metrics_path.with_name(WEIGHTS), metrics["weights_sha256"])
    model = _build(metrics["spec"], facts)
    try:
        model.load_state_dict({name: torch.from_numpy(value) for name, value in state.items()})
    except RuntimeError as error:
        raise CheckpointError(f"{metrics_path}: the weights do not fit: {error}") from None
    return model.to(device), {name: torch.from_numpy(m).to(device) for name, m in masks.items()}


def _build(spec: dict[str, Any], facts: dict[str, Any]) -> nn.Module:
    channels, size, _ = facts["shape"]
    return models.build(
        spec["model"],
        channels=channels,
        size=size,
        classes=facts["classes"],
        seed=derive_seed(spec["seed"], "initial weights"),
    )


def _start(
    spec: dict[str, Any], facts: dict[str, Any], parent: Path | None, device: torch.device
) -> tuple[nn.Module, pruning.Masks, cost.Cost]:
    """The model as this round's training finds it, its masks, and its cost an image."""
    layout = torch.channels_last if spec["recipe"]["channels_last"] else torch.preserve_format
    if parent is None:
        model = _build(spec, facts)
        macs = cost.count(copy.deepcopy(model), tuple(facts["shape"]))
        model = model.to(device, memory_format=layout)
        return model, pruning.dense_masks(model), macs
    before = read_json(parent)
    if (before["spec"]["chain"], before["round"]) != (spec["chain"], spec["round"] - 1):
        raise CheckpointError(
            f"{parent} holds round {before['round']} of {before['spec']['chain']}, not round "
            f"{spec['round'] - 1} of {spec['chain']}. Delete it and run snakemake again."
        )
    model, masks = load_model(parent, facts, device)
    weights = pruning.prunable(model)
    masks = pruning.prune(weights, masks, Pruning(**spec["pruning"]))
    pruning.apply(weights, masks)
    return model.to(memory_format=layout), masks, cost.Cost(**before["macs"])


def _distilled(
    setting: Distillation,
    teacher: Path,
    facts: dict[str, Any],
    samples: Samples,
    labels: Tensor,
    recipe: Recipe,
) -> Objective:
    """Equation (1), with a frozen teacher in evaluation mode that sees what the student sees."""
    network, _ = load_model(teacher, facts, labels.device)
    network.eval().requires_grad_(False)
    if recipe.augmentation == "none":
        # The teacher sees the same images in every epoch: it answers once.
        answers = training.predict(network, samples, recipe)
        return lambda logits, batch: distillation_loss(
            logits, answers[batch.index], labels[batch.index], setting
        )

    def objective(logits: Tensor, batch: Batch) -> Tensor:
        with torch.no_grad():
            answers = training.forward(network, batch.inputs, recipe)
        return distillation_loss(logits, answers, labels[batch.index], setting)

    return objective


def _place(
    images: Any, index: Any, facts: dict[str, Any], recipe: Recipe, device: torch.device
) -> Samples:
    chosen = torch.from_numpy(images if index is None else images[index])
    return Samples.place(
        chosen,
        tuple(facts["mean"]),
        tuple(facts["std"]),
        device=device,
        normalised=recipe.augmentation == "none",
    )


def _tensors(labels: Labels, device: torch.device) -> tuple[Tensor, Tensor]:
    return (
        torch.from_numpy(labels.train_labels).to(device),
        torch.from_numpy(labels.train_true_labels).to(device),
    )


def _arrays(tensors: dict[str, Tensor]) -> checkpoint.Arrays:
    return {name: tensor.detach().cpu().contiguous().numpy() for name, tensor in tensors.items()}


def choose_device(setting: str) -> torch.device:
    """`auto` is CUDA where there is one. Raises DeviceError for a CUDA that is not there."""
    if setting == "cuda" and not torch.cuda.is_available():
        raise DeviceError("device: cuda, but torch finds no CUDA device. Set device: auto or cpu.")
    if setting == "auto":
        setting = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(setting)


def _device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return cpu_brand() or platform.machine()
