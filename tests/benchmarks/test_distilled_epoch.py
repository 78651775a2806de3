"""What the teacher costs an epoch: looked up in a table of its answers, or asked in every step.

A table holds the teacher's logits of every image under every outcome of the augmentation, in half
precision: [images, 162, classes], or [images, 1, classes] without augmentation. To fill it costs
one pass of the teacher for each entry, once; it is not timed here.
"""

import ours
import pytest
import torch
from measure import rows, take_turns
from test_cifar_on_the_cpu import RECIPE, build, photographs, place
from torch import Tensor

from sdd import augment, models, pruning, training
from sdd.distillation import distillation_loss
from sdd.settings import Distillation, Recipe

SETTING = Distillation(alpha=0.8, temperature=10)
DIGITS = Recipe("sgd", 0.05, 1e-4, 128, 1, "constant", momentum=0.9)
# images, turns, recipe
CASES = {"lenet-300-100": (3500, 9, DIGITS), "vgg-5-5": (256, 3, RECIPE)}


@pytest.mark.parametrize("name", CASES)
def test_a_table_costs_at_most_a_tenth(name, show):
    count, turns, recipe = CASES[name]
    labels = torch.arange(count) % 10
    if name == "vgg-5-5":
        samples, teacher, entries = place(photographs(count)), build("resnet18"), augment.OUTCOMES
        student = build(name)
    else:
        images = torch.randn(count, 1, 28, 28, generator=torch.Generator().manual_seed(0))
        samples, entries = training.Samples(images, torch.zeros(1), torch.ones(1)), 1
        student, teacher = (
            models.build(name, channels=1, size=28, classes=10, seed=seed) for seed in (1, 2)
        )
    teacher.eval().requires_grad_(False)
    table = torch.randn(count * entries, 10).half()  # row by row, for index_select

    def looked_up(logits: Tensor, batch: training.Batch) -> Tensor:
        index = batch.index if batch.outcomes is None else batch.index * entries + batch.outcomes
        answers = table.index_select(0, index).float()
        return distillation_loss(logits, answers, labels.index_select(0, batch.index), SETTING)

    def asked(logits: Tensor, batch: training.Batch) -> Tensor:
        with torch.no_grad():
            answers = training.forward(teacher, batch.inputs, recipe)
        return distillation_loss(logits, answers, labels[batch.index], SETTING)

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
