import pytest
import torch
from torch.nn.functional import pad

from sdd.study.settings import FLIP_CROPS
from sdd.training import augmentation

torch.set_num_threads(1)
ALL = torch.arange(FLIP_CROPS)


def reference(image: torch.Tensor, outcome: int) -> torch.Tensor:
    """One image, step by step as the paper has it: flip, pad with zeros, crop."""
    flipped, offsets = divmod(outcome, 81)
    row, column = divmod(offsets, 9)
    if flipped:
        image = image.flip(2)
    padded = pad(image, (4, 4, 4, 4))
    return padded[:, row : row + image.shape[1], column : column + image.shape[2]]


def images(count: int, shape: tuple[int, ...] = (3, 32, 32)) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(1, 256, (count, *shape), generator=generator, dtype=torch.uint8)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
@pytest.mark.parametrize("shape", [(3, 32, 32), (1, 28, 28), (2, 8, 12)])
def test_every_outcome_is_the_references(dtype, shape):
    batch = images(FLIP_CROPS, shape).to(dtype)
    result = augmentation.flip_and_crop(batch, ALL)
    assert result.dtype == dtype
    assert result.is_contiguous()
    assert torch.equal(result, torch.stack([reference(i, n) for n, i in enumerate(batch)]))


def test_all_outcomes_of_an_image_differ():
    batch = images(1).expand(FLIP_CROPS, -1, -1, -1)
    assert len(augmentation.flip_and_crop(batch, ALL).unique(dim=0)) == FLIP_CROPS


def test_an_image_under_an_outcome_does_not_depend_on_its_batch():
    batch, outcomes = images(50), ALL[::3][:50]
    whole = augmentation.flip_and_crop(batch, outcomes)
    order = torch.randperm(50, generator=torch.Generator().manual_seed(1))
    assert torch.equal(augmentation.flip_and_crop(batch[order], outcomes[order]), whole[order])
    assert torch.equal(augmentation.flip_and_crop(batch[7:8], outcomes[7:8]), whole[7:8])


def test_memory_layout_does_not_matter():
    batch, outcomes = images(20), ALL[100:120]
    channels_last = batch.to(memory_format=torch.channels_last)
    assert torch.equal(
        augmentation.flip_and_crop(channels_last, outcomes),
        augmentation.flip_and_crop(batch, outcomes),
    )


def test_identity():
    batch = images(5)
    before = batch.clone()
    outcomes = torch.full((5,), augmentation.IDENTITY)
    assert torch.equal(augmentation.flip_and_crop(batch, outcomes), batch)
    assert torch.equal(augmentation.flip_and_crop(batch, outcomes + 81), batch.flip(3))
    assert torch.equal(batch, before)


def test_flip_then_crop_is_a_mirrored_crop_then_flip():
    batch = images(81)
    rows, columns = torch.arange(81) // 9, torch.arange(81) % 9
    flip_first = augmentation.flip_and_crop(batch, 81 + 9 * rows + columns)
    crop_first = augmentation.flip_and_crop(batch, 9 * rows + (8 - columns))
    assert torch.equal(flip_first, crop_first.flip(3))


def test_draws_are_uniform_and_from_the_generator_alone():
    torch.manual_seed(0)
    state = torch.get_rng_state()
    draws = augmentation.draw(162_000, torch.Generator().manual_seed(3))
    assert torch.equal(draws, augmentation.draw(162_000, torch.Generator().manual_seed(3)))
    assert torch.equal(torch.get_rng_state(), state)
    counts = torch.bincount(draws, minlength=FLIP_CROPS)
    assert len(counts) == FLIP_CROPS
    chi_square = ((counts - 1000) ** 2 / 1000).sum()
    assert chi_square < 161 + 4 * (2 * 161) ** 0.5
    assert abs((draws >= 81).double().mean() - 0.5) < 0.005


def test_an_empty_batch_stays_empty():
    assert augmentation.flip_and_crop(images(0), ALL[:0]).shape == (0, 3, 32, 32)
