"""The table of a teacher's answers against the teacher itself, and the bounds it states."""

import math

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from sdd import augment, models, teacher_logits, training
from sdd.distillation import distillation_loss, targets
from sdd.errors import DataError
from sdd.files import sha256, write_json
from sdd.settings import Distillation, Recipe

CPU = torch.device("cpu")
RECIPE = Recipe("sgd", 0.1, 0, 16, 1, "constant", augmentation="flip-crop")
FACTS = {"mean": [0.5, 0.4, 0.3], "std": [0.2, 0.3, 0.4]}


def samples(count=40):
    pixels = np.random.default_rng(0).integers(256, size=(count + 5, 3, 16, 16), dtype=np.uint8)
    index = np.random.default_rng(1).permutation(count + 5)[:count]
    return training.Samples.place(pixels, index, FACTS, device=CPU, normalised=False)


def network():
    return models.build("vgg-3-2", channels=3, size=16, classes=10, seed=0).train()


def tabulate(augmentation):
    return teacher_logits.tabulate(
        network(), samples(), RECIPE, augmentation, classes=10, log=lambda line: None
    )


def stored(table, folder):
    """The table as a student loads it."""
    save_file({"logits": table.numpy()}, folder / "logits.safetensors")
    write_json(folder / "logits.json", {"sha256": sha256(folder / "logits.safetensors")})
    augmentation = "none" if table.shape[1] == 1 else "flip-crop"
    return teacher_logits.load(
        folder / "logits.json", CPU, images=len(table), augmentation=augmentation
    )


def shifted(logits):
    return logits - logits.amax(1, keepdim=True)


def test_every_image_under_every_outcome_is_answered_as_by_the_teacher(tmp_path):
    table = tabulate("flip-crop")
    assert table.shape == (40, 162, 10) and table.dtype == torch.float16
    answers, drawn, teacher = stored(table, tmp_path), samples(), network().eval()
    batches = training._epoch(drawn, RECIPE, torch.Generator().manual_seed(3))
    for batch in batches:
        expected = shifted(teacher(batch.inputs).detach())
        found = answers(batch.index, batch.outcomes)
        assert found.dtype == torch.float32
        torch.testing.assert_close(found, expected, rtol=2**-11, atol=1e-5)


def test_without_augmentation_there_is_one_answer_in_full_precision(tmp_path):
    table = tabulate("none")
    assert table.shape == (40, 1, 10) and table.dtype == torch.float32
    index = torch.tensor([3, 0, 39])
    inputs = samples().normalise(samples().take(index))
    expected = shifted(network().eval()(inputs).detach())
    answers = stored(table, tmp_path)
    torch.testing.assert_close(answers(index, None), expected)
    torch.testing.assert_close(answers.of_all()[index], expected)


def test_a_table_of_other_images_or_another_augmentation_is_refused(tmp_path):
    stored(tabulate("none"), tmp_path)
    for images, augmentation in ((41, "none"), (40, "flip-crop")):
        with pytest.raises(DataError, match=r"of other images or another augmentation. Delete"):
            teacher_logits.load(
                tmp_path / "logits.json", CPU, images=images, augmentation=augmentation
            )


def test_the_middle_outcome_is_the_image_itself():
    table = tabulate("flip-crop")[:, augment.IDENTITY].float()
    torch.testing.assert_close(table, tabulate("none")[:, 0], rtol=2**-11, atol=1e-5)


@pytest.mark.parametrize("tau", [1.0, 10.0])
@pytest.mark.parametrize("classes", [10, 100])
@pytest.mark.parametrize("size", [1.0, 30.0, 1e6])
def test_half_precision_keeps_its_bound(tau, classes, size):
    generator = torch.Generator().manual_seed(0)
    logits = size * torch.randn(2000, classes, generator=generator, dtype=torch.float64)
    logits = shifted(logits)
    half = logits.clamp(min=teacher_logits.LOWEST).half().double()
    p, q = torch.softmax(logits / tau, 1), torch.softmax(half / tau, 1)
    variation = (p - q).abs().sum(1) / 2
    assert variation.max() <= 2**-11 * math.log(classes)
    assert variation.max() > 0 or size == 1e6


def test_the_loss_stays_within_a_thousandth():
    generator = torch.Generator().manual_seed(1)
    teacher = shifted(8 * torch.randn(512, 10, generator=generator))
    student = 8 * torch.randn(512, 10, generator=generator)
    labels = torch.randint(10, (512,), generator=generator)
    for setting in (Distillation(0.8, 10.0), Distillation(1.0, 1.0)):
        exact, rounded = (
            distillation_loss(student, targets(answers, labels, setting), setting)
            for answers in (teacher, teacher.half().float())
        )
        assert rounded.item() == pytest.approx(exact.item(), rel=1e-3)
