"""What the teacher costs an epoch: looked up in a table of its answers, or asked in every step.

A table holds the teacher's logits of every image under every outcome of the augmentation:
[images, 162, classes], or [images, 1, classes] without augmentation. To fill it costs one pass of
the teacher for each entry, once; it is not timed here.
"""

from pathlib import Path

import ours
import pytest
import torch
from measure import rows, take_turns
from safetensors.numpy import save_file
from test_cifar_on_the_cpu import RECIPE, build, photographs, place
from torch import Tensor

from sdd import augment, models, pruning, teacher_logits, training
from sdd.distillation import Targets, distillation_loss, targets
from sdd.files import sha256, write_json
from sdd.settings import Distillation, Recipe

SETTING = Distillation(alpha=0.8, temperature=10)
DIGITS = Recipe("sgd", 0.05, 1e-4, 128, 1, "constant", momentum=0.9)
# images, turns, recipe
CASES = {"lenet-300-100": (3500, 9, DIGITS), "vgg-5-5": (256, 3, RECIPE)}


def as_stored(table: Tensor, folder: Path) -> teacher_logits.Answers:
    """The answers as a round looks them up: half precision where there are many of an image."""
    stored = table if table.shape[1] == 1 else table.half()
    save_file({"logits": stored.numpy()}, folder / "logits.safetensors")
    write_json(folder / "logits.json", {"sha256": sha256(folder / "logits.safetensors")})
    return teacher_logits.load(
        folder / "logits.json",
        torch.device("cpu"),
        images=len(table),
        augmentation="none" if table.shape[1] == 1 else "flip-crop",
    )


@pytest.mark.parametrize("name", CASES)
def test_a_table_costs_at_most_a_tenth(name, show, tmp_path):
    count, turns, recipe = CASES[name]
    labels = torch.arange(count) % 10
    if name == "vgg-5-5":
        samples, teacher, entries = place(photographs(count)), build("resnet18"), augment.FLIP_CROPS
        student = build(name)
    else:
        images = torch.randn(count, 1, 28, 28, generator=torch.Generator().manual_seed(0))
        samples, entries = training.Samples(images, torch.zeros(1), torch.ones(1)), 1
        student, teacher = (
            models.build(name, channels=1, size=28, classes=10, seed=seed) for seed in (1, 2)
        )
    teacher.eval().requires_grad_(False)
    answers = as_stored(torch.randn(count, entries, 10), tmp_path)

    fixed = targets(answers.of_all(), labels, SETTING)

    def targets_of(batch: training.Batch) -> Targets:
        if entries == 1:
            return fixed.at(batch.index)
        found = answers(batch.index, batch.outcomes)
        return targets(found, labels.index_select(0, batch.index), SETTING)

    def looked_up(logits: Tensor, batch: training.Batch) -> Tensor:
        return distillation_loss(logits, targets_of(batch), SETTING)

    def asked(logits: Tensor, batch: training.Batch) -> Tensor:
        with torch.no_grad():
            asked = training.forward(teacher, batch.inputs, recipe)
        return distillation_loss(logits, targets(asked, labels[batch.index], SETTING), SETTING)

    masks = pruning.dense_masks(student)
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
