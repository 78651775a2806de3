"""A frozen teacher's logits for every image under every outcome of the augmentation.

A student sees an image in one of 162 ways (sdd.training.augmentation), in one way without
augmentation. The teacher sees all of them once, and every epoch, round and student after that looks
its logits up instead of running the teacher on the same pixels again.

They are `logits.safetensors`, beside `logits.json`. A row of logits is stored less its largest,
which no softmax notices. With augmentation it is in half precision: a logit that is x below the
largest is then off by 2^-11 x at most, and because the softmax has made it small by exp(-x / tau),
softened probabilities are off by 2^-11 ln(classes) at most in total variation, at any temperature
from 1 up: 0.0011 for 10 classes, 0.0022 for 100.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.numpy import save_file
from torch import Tensor, nn

from sdd.base import layout
from sdd.base.errors import DataError
from sdd.base.files import read_record, replacing, sha256, write_json
from sdd.base.known_files import known_sha256
from sdd.base.records import to_dict
from sdd.data.arrays import map_arrays, read_dataset
from sdd.data.facts import check_dataset, check_labels, read_facts, read_label_facts
from sdd.data.labels import read_labels
from sdd.machine.devices import device_name
from sdd.machine.energy import EnergyMeter
from sdd.rounds.network import read_network
from sdd.rounds.teachers import check_teacher, read_network_facts
from sdd.study.metrics import TeacherLogitsCost, TeacherLogitsFacts
from sdd.study.settings import OUTCOMES, Passes, Recipe
from sdd.study.specs import TeacherLogitsSpec
from sdd.training.augmentation import flip_and_crop
from sdd.training.evaluation import forward
from sdd.training.samples import Samples

LOWEST = torch.finfo(torch.float16).min  # exp of it is 0 at any sensible temperature


def make(
    spec: TeacherLogitsSpec,
    *,
    dataset: Path,
    labels: Path,
    teacher: Path,
    output: Path,
    device: torch.device,
    log: Callable[[str], None],
) -> None:
    """Writes the logits of a teacher for the images that its students train on: of the round whose
    metrics are `teacher`, or of the network from outside that is described there.

    `dataset` and `labels` are JSON files with their data beside them, as for a round; the spec
    says which augmentation. Images have the order of the labels.
    """
    if spec.labels:
        check_dataset(dataset, spec.labels)
        check_labels(labels, spec.labels, dataset)
    if spec.teacher:
        check_teacher(teacher, spec.teacher)
    facts, known = read_facts(dataset), read_network_facts(teacher)
    network, _ = read_network(teacher, facts, device)
    samples = Samples.place(
        read_dataset(dataset)["train_images"],
        read_labels(labels).train_index,
        facts,
        device=device,
        normalised=False,
    )
    started = time.perf_counter()
    with EnergyMeter(device=str(device)) as meter:
        table = tabulate(
            network, samples, known.computes, spec.augmentation, classes=facts.classes, log=log
        )
    data = layout.data_of(output)
    with replacing(data) as temporary:
        save_file({"logits": table.numpy()}, temporary)
    images, outcomes, classes = table.shape
    made = TeacherLogitsFacts(
        spec=spec,
        teacher=known.chain,
        round=known.round,
        teacher_sha256=known.weights_sha256,
        labels_sha256=read_label_facts(labels).sha256,
        shape=(images, outcomes, classes),
        type=str(table.dtype).removeprefix("torch."),
        flops=images * outcomes * known.macs.forward_macs,
        sha256=sha256(data),
    )
    write_json(output, to_dict(made))
    # Apart, since no logit depends on it: the same logits made again train no student again.
    cost = TeacherLogitsCost(
        time.perf_counter() - started, meter.reading, device_name(device), made.sha256
    )
    write_json(layout.cost_of(output), to_dict(cost))


@torch.no_grad()
def tabulate(
    teacher: nn.Module,
    samples: Samples,
    recipe: Recipe | Passes,
    augmentation: str,
    *,
    classes: int,
    log: Callable[[str], None],
) -> Tensor:
    """[n, outcomes, classes] on the CPU: the teacher's logits, less the largest of their row.

    `recipe` is the teacher's own, if it is known, and gives the precision of its passes; `samples`
    hold raw pixels.
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
                seen = flip_and_crop(images, drawn)
            logits = forward(teacher, samples.normalise(seen), recipe)
            logits -= logits.amax(1, keepdim=True)
            rows[:, outcome] = logits.clamp(min=LOWEST)
        done += len(images)
        log(f"{done} of {len(samples)} images, {OUTCOMES[augmentation]} outcomes each")
    return table


@dataclass(frozen=True)
class TeacherLogits:
    """A table of them in memory, or mapped."""

    table: Tensor  # [n, outcomes, classes]

    def __call__(self, index: Tensor, outcomes: Tensor | None) -> Tensor:
        """Float32 [b, classes], of images `index` [b] under `outcomes` [b] (if any)."""
        row = index if outcomes is None else index * self.table.shape[1] + outcomes
        return self.table.flatten(0, 1).index_select(0, row).float()

    def of_all(self) -> Tensor:
        """Float32 [n, classes], of all images without augmentation."""
        return self.table[:, 0].float()


def read_logits(
    path: Path, device: torch.device, *, images: int, augmentation: str
) -> TeacherLogits:
    """Those whose facts are at `path`. On the CPU mapped: students side by side share one copy.

    Raises DataError when they are missing, not those that were made, or of another number of
    images or another augmentation.
    """
    data = layout.data_of(path)
    repair = f"Delete {path} and run snakemake again."
    if not data.exists():
        raise DataError(f"{data} is missing. {repair}")
    # Every round of every student comes here, and the file may have gigabytes.
    if known_sha256(data) != read_record(path, TeacherLogitsFacts).sha256:
        raise DataError(f"{data} is not the file that {path.name} describes. {repair}")
    table = torch.from_numpy(map_arrays(data)["logits"]).to(device)
    if table.shape[:2] != (images, OUTCOMES[augmentation]):
        raise DataError(f"{data} is of other images or another augmentation. {repair}")
    return TeacherLogits(table)
