"""Tabulated teacher logits against the teacher itself, and the bounds it states."""

import math

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from sdd.base.errors import DataError
from sdd.base.files import sha256, write_json
from sdd.base.records import to_dict
from sdd.data.facts import DatasetFacts
from sdd.models.build import build
from sdd.rounds import teacher_logits
from sdd.study.metrics import TeacherLogitsFacts
from sdd.study.settings import Distillation, Recipe
from sdd.study.specs import TeacherLogitsSpec
from sdd.training import augmentation
from sdd.training.distillation import distillation_loss, targets
from sdd.training.samples import Samples, epoch_of

CPU = torch.device("cpu")
RECIPE = Recipe("sgd", 0.1, 0, 16, 1, "constant", augmentation="flip-crop")
FACTS = DatasetFacts("x", "", 10, (3, 16, 16), 45, 0, (0.5, 0.4, 0.3), (0.2, 0.3, 0.4), {}, 0, "")


def samples(count=40):
    pixels = np.random.default_rng(0).integers(256, size=(count + 5, 3, 16, 16), dtype=np.uint8)
    index = np.random.default_rng(1).permutation(count + 5)[:count]
    return Samples.place(pixels, index, FACTS, device=CPU, normalised=False)


def network():
    return build("vgg-3-2", channels=3, size=16, classes=10, seed=0).train()


def tabulate(augmentation):
    return teacher_logits.tabulate(
        network(), samples(), RECIPE, augmentation, classes=10, log=lambda line: None
    )


def stored(table, folder):
    """The table as a student loads it."""
    save_file({"logits": table.numpy()}, folder / "logits.safetensors")
    augmentation = "none" if table.shape[1] == 1 else "flip-crop"
    facts = TeacherLogitsFacts(
        TeacherLogitsSpec(augmentation), "c", 0, "", "", tuple(table.shape), "float16", 0,
        sha256(folder / "logits.safetensors"),
    )  # fmt: skip
    write_json(folder / "logits.json", to_dict(facts))
    return teacher_logits.read_logits(
        folder / "logits.json", CPU, images=len(table), augmentation=augmentation
    )


def shifted(logits):
    return logits - logits.amax(1, keepdim=True)


def test_every_image_under_every_outcome_is_seen_as_by_the_teacher(tmp_path):
    table = tabulate("flip-crop")
    assert table.shape == (40, 162, 10) and table.dtype == torch.float16
    logits, drawn, teacher = stored(table, tmp_path), samples(), network().eval()
    batches = epoch_of(drawn, RECIPE, torch.Generator().manual_seed(3))
    for batch in batches:
        expected = shifted(teacher(batch.inputs).detach())
        found = logits(batch.index, batch.outcomes)
        assert found.dtype == torch.float32
        torch.testing.assert_close(found, expected, rtol=2**-11, atol=1e-5)


def test_without_augmentation_there_is_one_row_in_full_precision(tmp_path):
    table = tabulate("none")
    assert table.shape == (40, 1, 10) and table.dtype == torch.float32
    index = torch.tensor([3, 0, 39])
    inputs = samples().normalise(samples().take(index))
    expected = shifted(network().eval()(inputs).detach())
    logits = stored(table, tmp_path)
    torch.testing.assert_close(logits(index, None), expected)
    torch.testing.assert_close(logits.of_all()[index], expected)


def test_logits_of_other_images_or_another_augmentation_is_refused(tmp_path):
    stored(tabulate("none"), tmp_path)
    for images, seen in ((41, "none"), (40, "flip-crop")):
        with pytest.raises(DataError, match=r"of other images or another augmentation. Delete"):
            teacher_logits.read_logits(
                tmp_path / "logits.json", CPU, images=images, augmentation=seen
            )


def test_the_middle_outcome_is_the_image_itself():
    table = tabulate("flip-crop")[:, augmentation.IDENTITY].float()
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
            distillation_loss(student, targets(logits, labels, setting), setting)
            for logits in (teacher, teacher.half().float())
        )
        assert rounded.item() == pytest.approx(exact.item(), rel=1e-3)
