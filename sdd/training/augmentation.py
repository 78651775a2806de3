"""Flip and crop of whole batches, on whatever device they lie.

The paper's augmentation for CIFAR: a horizontal flip with probability 1/2, then a random crop of
the image padded by 4 zeros, which are RAW pixels, so normalise afterwards. There are only
2 * 9 * 9 outcomes, and an image under a given outcome is always the same pixels; whatever is a
function of the augmented image can be tabulated by (image, outcome).
"""

import torch
from torch import Tensor
from torch.nn.functional import pad

from sdd.study.settings import FLIP_CROPS, OFFSETS, PADDING

# Outcome (flipped * OFFSETS + row) * OFFSETS + column, where (row, column) is the upper left
# corner of the crop in the padded image.
IDENTITY = PADDING * OFFSETS + PADDING


def draw(count: int, generator: torch.Generator) -> Tensor:
    """[count] outcomes, int64, independent and uniform, on the generator's device."""
    return torch.randint(FLIP_CROPS, (count,), generator=generator, device=generator.device)


def flip_and_crop(images: Tensor, outcomes: Tensor) -> Tensor:
    """Image n under outcome n: raw pixels [N, C, H, W] of any type -> the same shape and type."""
    _, channels, height, width = images.shape
    flipped = (outcomes >= OFFSETS**2).unsqueeze(1)
    top = (outcomes // OFFSETS % OFFSETS).unsqueeze(1)
    left = (outcomes % OFFSETS).unsqueeze(1)

    padded = pad(images, (PADDING,) * 4)
    rows = top + torch.arange(height, device=images.device)
    columns = left + torch.arange(width, device=images.device)
    # The flip mirrors the padded image too: its column c is the unflipped one's last minus c.
    last = padded.shape[3] - 1
    columns = torch.where(flipped, last - columns, columns)
    # One index of pixels for all channels of an image, expanded without a copy.
    pixels = rows.unsqueeze(2) * padded.shape[3] + columns.unsqueeze(1)
    index = pixels.flatten(1).unsqueeze(1).expand(-1, channels, -1)
    return padded.flatten(2).gather(2, index).view_as(images)
