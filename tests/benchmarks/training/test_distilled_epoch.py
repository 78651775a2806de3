"""What the teacher costs an epoch: its logits looked up, or its passes made in every step.

A table holds the teacher's logits for every image under every outcome of the augmentation:
[images, 162, classes], or [images, 1, classes] without augmentation. To fill it costs one pass of
the teacher for each entry, once; it is not timed here.
"""

from pathlib import Path

import lenet
import ours
import photographs
import pytest
import torch
from measure import rows, take_turns
from safetensors.numpy import save_file
from torch import Tensor

from sdd.base.files import sha256, write_json
from sdd.base.records import to_dict
from sdd.rounds.teacher_logits import TeacherLogits, read_logits
from sdd.sparsity.masks import dense_masks
from sdd.study.metrics import TeacherLogitsFacts
from sdd.study.settings import FLIP_CROPS, Distillation, Recipe
from sdd.study.specs import TeacherLogitsSpec
from sdd.training.distillation import Targets, distillation_loss, targets
from sdd.training.evaluation import forward
from sdd.training.samples import Batch, Samples

SETTING = Distillation(alpha=0.8, temperature=10)
DIGITS = Recipe("sgd", 0.05, 1e-4, 128, 1, "constant", momentum=0.9)
# images, turns, recipe
CASES = {"lenet-300-100": (3500, 9, DIGITS), "vgg-5-5": (256, 3, photographs.RECIPE)}


def as_stored(table: Tensor, folder: Path) -> TeacherLogits:
    """The logits as a round looks them up: half precision where there are many of an image."""
    augmentation = "none" if table.shape[1] == 1 else "flip-crop"
    stored = table if augmentation == "none" else table.half()
    save_file({"logits": stored.numpy()}, folder / "logits.safetensors")
    facts = TeacherLogitsFacts(
        TeacherLogitsSpec(augmentation), "c", 0, "", "", tuple(table.shape),
        str(stored.dtype).removeprefix("torch."), 0, sha256(folder / "logits.safetensors"),
    )  # fmt: skip
    write_json(folder / "logits.json", to_dict(facts))
    return read_logits(
        folder / "logits.json",
        torch.device("cpu"),
        images=len(table),
        augmentation=augmentation,
    )


@pytest.mark.parametrize("name", CASES)
def test_a_table_costs_at_most_a_tenth(name, show, tmp_path):
    count, turns, recipe = CASES[name]
    labels = torch.arange(count) % 10
    if name == "vgg-5-5":
        samples, entries = photographs.place(photographs.make(count)), FLIP_CROPS
        student, teacher = photographs.build(name), photographs.build("resnet18")
    else:
        images = torch.randn(count, 1, 28, 28, generator=torch.Generator().manual_seed(0))
        samples, entries = Samples(images, torch.zeros(1), torch.ones(1)), 1
        student, teacher = lenet.build(seed=1), lenet.build(seed=2)
    teacher.eval().requires_grad_(False)
    table = as_stored(torch.randn(count, entries, 10), tmp_path)

    fixed = targets(table.of_all(), labels, SETTING)

    def targets_of(batch: Batch) -> Targets:
        if entries == 1:
            return fixed.at(batch.index)
        found = table(batch.index, batch.outcomes)
        return targets(found, labels.index_select(0, batch.index), SETTING)

    def looked_up(logits: Tensor, batch: Batch) -> Tensor:
        return distillation_loss(logits, targets_of(batch), SETTING)

    def asked(logits: Tensor, batch: Batch) -> Tensor:
        with torch.no_grad():
            asked = forward(teacher, batch.inputs, recipe)
        return distillation_loss(logits, targets(asked, labels[batch.index], SETTING), SETTING)

    masks = dense_masks(student)
    timing = take_turns(
        {
            side: ours.epoch(student, masks, samples, labels, recipe, objective)
            for side, objective in (
                ("plain", None),
                ("teacher in a table", looked_up),
                ("teacher in the loop", asked),
            )
        },
        turns,
    )
    title = f"An epoch of {name}, {count} images, one thread, {turns} turns (processor time)"
    show(title, rows(timing, count, {"teacher in a table": "<= 1.1"}))
    assert timing.ratio("teacher in a table", "plain") <= 1.1
