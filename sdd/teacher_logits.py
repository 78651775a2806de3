"""A frozen teacher's answers to every image under every outcome of the augmentation.

A student sees an image in one of 162 ways (sdd.augment), in one way without augmentation. The
teacher answers all of them once, and every epoch, round and student after that looks its answers
up instead of running the teacher on the same pixels again.

The table is `logits.safetensors`, beside `logits.json`. A row of logits is stored less its largest,
which no softmax notices. With augmentation it is in half precision: a logit that is x below the
largest is then off by 2^-11 x at most, and because the softmax has made it small by exp(-x / tau),
softened probabilities are off by 2^-11 ln(classes) at most in total variation, at any temperature
from 1 up: 0.0011 for 10 classes, 0.0022 for 100.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.numpy import save_file
from torch import Tensor, nn

from sdd import augment, datasets, networks, training
from sdd.devices import device_name
from sdd.energy import EnergyMeter
from sdd.errors import DataError
from sdd.files import map_arrays, read_json, replacing, sha256, write_json
from sdd.labels import load as load_labels
from sdd.settings import OUTCOMES, Recipe
from sdd.training import Samples

LOWEST = torch.finfo(torch.float16).min  # exp of it is 0 at any sensible temperature


def make(
    spec: dict[str, Any],
    *,
    dataset: Path,
    labels: Path,
    teacher: Path,
    output: Path,
    device: torch.device,
    log: Callable[[str], None],
) -> None:
    """Writes the table of the round whose metrics are `teacher`, for the images it trained on.

    `dataset` and `labels` are JSON files with their data beside them, as for a round; the spec
    says which augmentation. Images have the order of the labels.
    """
    facts, metrics = read_json(dataset), read_json(teacher)
    recipe = Recipe.from_dict(metrics["spec"]["recipe"])
    network, _ = networks.load(teacher, facts, device)
    samples = Samples.place(
        datasets.load(dataset.parent)["train_images"],
        load_labels(labels).train_index,
        facts,
        device=device,
        normalised=False,
    )
    started = time.perf_counter()
    with EnergyMeter(device=str(device)) as meter:
        table = tabulate(
            network, samples, recipe, spec["augmentation"], classes=facts["classes"], log=log
        )
    data = output.with_suffix(".safetensors")
    with replacing(data) as temporary:
        save_file({"logits": table.numpy()}, temporary)
    write_json(
        output,
        {
            "spec": spec,
            "teacher": metrics["spec"]["chain"],
            "round": metrics["round"],
            "teacher_sha256": metrics["weights_sha256"],
            "labels_sha256": read_json(labels)["sha256"],
            "shape": list(table.shape),
            "type": str(table.dtype).removeprefix("torch."),
            "flops": table.shape[0] * table.shape[1] * metrics["macs"]["forward_macs"],
            "sha256": sha256(data),
        },
    )
    # Apart, since no answer depends on it: the same answers made again train no student again.
    write_json(
        output.with_name("cost.json"),
        {
            "seconds": time.perf_counter() - started,
            "energy": meter.reading.to_dict(),
            "device": device_name(device),
        },
    )


@torch.no_grad()
def tabulate(
    teacher: nn.Module,
    samples: Samples,
    recipe: Recipe,
    augmentation: str,
    *,
    classes: int,
    log: Callable[[str], None],
) -> Tensor:
    """[n, outcomes, classes] on the CPU: the teacher's logits, less the largest of their row.

    `recipe` is the teacher's own and gives the precision of its passes; `samples` hold raw pixels.
    """
    teacher.eval()
    augmented = augmentation != "none"
    table = torch.empty(
        len(samples),
        OUTCOMES[augmentation],
        classes,
        dtype=torch.float16 if augmented else torch.float32,
    )
    done = 0
    for images in samples.batches():
        rows = table[done : done + len(images)]
        for outcome in range(OUTCOMES[augmentation]):
            seen = images
            if augmented:
                drawn = torch.full((len(images),), outcome, device=images.device)
                seen = augment.flip_and_crop(images, drawn)
            logits = training.forward(teacher, samples.normalise(seen), recipe)
            logits -= logits.amax(1, keepdim=True)
            rows[:, outcome] = logits.clamp(min=LOWEST)
        done += len(images)
        log(f"{done} of {len(samples)} images, {OUTCOMES[augmentation]} outcomes each")
    return table


@dataclass(frozen=True)
class Answers:
    """A table in memory, or mapped."""

    table: Tensor  # [n, outcomes, classes]

    def __call__(self, index: Tensor, outcomes: Tensor | None) -> Tensor:
        """Logits, float32 [b, classes], of images `index` [b] under `outcomes` [b] (if any)."""
        row = index if outcomes is None else index * self.table.shape[1] + outcomes
        return self.table.flatten(0, 1).index_select(0, row).float()

    def of_all(self) -> Tensor:
        """Logits, float32 [n, classes], of all images without augmentation."""
        return self.table[:, 0].float()


def load(path: Path, device: torch.device, *, images: int, augmentation: str) -> Answers:
    """The table at `path`. On the CPU it is mapped: students side by side share one copy.

    Raises DataError when it is missing, not the one that was made, or of another number of images
    or another augmentation.
    """
    data = path.with_suffix(".safetensors")
    repair = f"Delete {path} and run snakemake again."
    if not data.exists():
        raise DataError(f"{data} is missing. {repair}")
    if sha256(data) != read_json(path)["sha256"]:
        raise DataError(f"{data} is not the file that {path.name} describes. {repair}")
    table = torch.from_numpy(map_arrays(data)["logits"]).to(device)
    if table.shape[:2] != (images, OUTCOMES[augmentation]):
        raise DataError(f"{data} is of other images or another augmentation. {repair}")
    return Answers(table)
