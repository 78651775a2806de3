"""Which kernels multiply a network, and in which layout: decided where it is trained.

Apart from the kernels, since whatever places a network asks for its layout.
"""

from dataclasses import replace
from functools import cache

import torch

from sdd.machine.processor import UNKNOWN, Kernels, cpu_vendor, kernels_of
from sdd.study.settings import Recipe


def kernels_for(recipe: Recipe, device: torch.device) -> Kernels:
    """What a training by `recipe` multiplies with on `device`: always the same on one machine."""
    if device.type == "cpu":
        kernels = _of_this_processor()
        layout = kernels.channels_last
    else:
        kernels, layout = UNKNOWN, device.type == "cuda" and recipe.precision == "bfloat16"
    wanted = recipe.channels_last
    return replace(kernels, channels_last=layout if wanted == "auto" else wanted)


def channels_last(recipe: Recipe, device: torch.device) -> bool:
    """Whether images and convolutions are laid out with channels last; asked in every step."""
    wanted = recipe.channels_last
    return kernels_for(recipe, device).channels_last if wanted == "auto" else wanted


@cache
def _of_this_processor() -> Kernels:
    kernels = kernels_of(cpu_vendor(), torch.backends.cpu.get_cpu_capability())
    if torch.backends.mkldnn.is_available():
        return kernels
    return replace(kernels, onednn_from=None)
