"""What a training multiplies with: its recipe, its device and the processor decide."""

from dataclasses import replace

import pytest
import torch

from sdd.machine.processor import UNKNOWN, Kernels
from sdd.sparsity import kernel_choice
from sdd.sparsity.kernel_choice import channels_last, kernels_for
from sdd.study.settings import Recipe

RECIPE = Recipe("sgd", 0.05, 1e-4, 128, 1, "constant")
AUTO = replace(RECIPE, channels_last="auto")
CPU, GPU, OTHER = (torch.device(name) for name in ("cpu", "cuda", "meta"))


@pytest.fixture(params=[True, False])
def processor(request, monkeypatch):
    known = Kernels(10_000, 0.4, 0.25, channels_last=request.param)
    kernel_choice._of_this_processor.cache_clear()
    monkeypatch.setattr(kernel_choice, "kernels_of", lambda vendor, instructions: known)
    yield known
    kernel_choice._of_this_processor.cache_clear()


def test_auto_follows_the_processor_on_the_cpu_and_the_precision_on_a_gpu(processor):
    half = replace(AUTO, precision="bfloat16")
    for recipe, device, wanted in (
        (AUTO, CPU, processor.channels_last), (half, CPU, processor.channels_last),
        (AUTO, GPU, False), (half, GPU, True), (half, OTHER, False),
    ):  # fmt: skip
        assert channels_last(recipe, device) is wanted
        assert kernels_for(recipe, device).channels_last is wanted


@pytest.mark.parametrize("said", [True, False])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_what_a_recipe_says_holds_everywhere(processor, said, precision):
    recipe = replace(RECIPE, channels_last=said, precision=precision)
    for device in (CPU, GPU, OTHER):
        assert channels_last(recipe, device) is said
        assert kernels_for(recipe, device).channels_last is said


def test_only_the_cpu_has_other_products_than_torchs(processor):
    if torch.backends.mkldnn.is_available():
        assert kernels_for(AUTO, CPU) == processor
    assert kernels_for(RECIPE, GPU) == UNKNOWN


def test_without_onednn_nothing_goes_to_it(processor, monkeypatch):
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    assert kernels_for(RECIPE, CPU).onednn_from is None
