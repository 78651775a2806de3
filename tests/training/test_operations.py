"""How many operations a step dispatches to a GPU: each launches a kernel or more."""

from collections import Counter
from dataclasses import replace

import pytest
import torch
from pretended_gpu import CUDA, OnGpu, pretended
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from toy import by_magnitude

from sdd.models.build import build
from sdd.rounds.network import place_network
from sdd.sparsity import masks as sparsity
from sdd.study.settings import Pruning, Recipe
from sdd.training import samples as training_samples
from sdd.training.loop import cross_entropy, train
from sdd.training.samples import Samples, epoch_of

PLAIN = Recipe("sgd", 0.01, 1e-4, 2, 1, "constant", momentum=0.9)
SGD = replace(PLAIN, augmentation="flip-crop")
FAST = replace(SGD, precision="bfloat16", channels_last=True)
ADAMW = replace(SGD, optimizer="adamw", schedule="cosine")
ALLOCATIONS = {"aten::empty", "aten::empty_like", "aten::new_empty", "aten::_unsafe_view"}


class Dispatched(TorchDispatchMode):
    """In its block, notes operations on the GPU, but for what computes nothing: views and new
    memory."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()
        self.products: list[tuple] = []  # what each product of lists was given

    def __torch_dispatch__(self, operation, types, arguments=(), options=None):
        name, returned = operation._schema.name, operation._schema.returns
        view = any(r.alias_info and not r.alias_info.is_write for r in returned)
        on_gpu = any(isinstance(x, OnGpu) for x in tree_leaves((arguments, options)))
        if on_gpu and not view and name not in ALLOCATIONS:
            self.counts[name] += 1
        if name == "aten::_foreach_mul_":
            self.products.append(arguments)
        return operation(*arguments, **(options or {}))


def images(recipe: Recipe, count: int, channels: int, size: int) -> Samples:
    """Random ones, on the GPU, as a round has them: normalised, if they are not augmented."""
    pixels = torch.randint(256, (count, channels, size, size), dtype=torch.uint8)
    one = torch.ones(channels, 1, 1, device=CUDA)
    samples = Samples(pixels.to(CUDA), one / 2, one)
    fixed = recipe.augmentation == "none"
    return replace(samples, images=samples.normalise(samples.images)) if fixed else samples


def epoch(model: str, recipe: Recipe, steps: int, channels: int, size: int) -> Dispatched:
    """What an epoch of so many steps of a model, half of whose weights are pruned, dispatches."""
    network = build(model, channels=channels, size=size, classes=10, seed=1)
    with pretended():
        network = place_network(network, recipe, CUDA)
        weights = sparsity.prunable(network)
        masks = sparsity.prune(by_magnitude(weights), sparsity.dense_masks(network), Pruning(0.5))
        sparsity.apply(weights, masks)
        samples = images(recipe, steps * recipe.batch_size, channels, size)
        labels = (torch.arange(len(samples)) % 10).to(CUDA)
        with Dispatched() as seen:
            train(
                network, masks, samples, labels, labels, recipe, cross_entropy(labels),
                generator=torch.Generator().manual_seed(2), report=lambda epoch: None,
            )  # fmt: skip
    return seen


# The numbers of operations do not depend on a model's width.
STEPS = {
    "LeNet": ("lenet-300-100", PLAIN, 1, 28, 25),
    "VGG-like": ("vgg-3-5", SGD, 3, 32, 85),
    "VGG-like in bfloat16": ("vgg-3-5", FAST, 3, 32, 133),
    "ResNet-18": ("resnet18-4", SGD, 3, 16, 145),
    "ResNet-18 in bfloat16": ("resnet18-4", FAST, 3, 16, 193),
    "ViT": ("vit-64-6", ADAMW, 3, 8, 278),
}


@pytest.mark.parametrize("step", STEPS.values(), ids=STEPS)
def test_a_masked_step_dispatches_no_more_than(step):
    model, recipe, channels, size, most = step
    # Between two lengths, so that only what comes with each step counts.
    short, long = (epoch(model, recipe, steps, channels, size).counts for steps in (2, 6))
    assert 0 < sum((long - short).values()) / 4 <= most, long - short


@pytest.mark.parametrize("recipe", [SGD, FAST], ids=["contiguous", "channels last"])
def test_all_pruned_weights_are_multiplied_at_once_in_one_layout(recipe):
    seen = epoch("vgg-3-2", recipe, 3, 3, 8)
    assert len(seen.products) == 3
    for gradients, kept in seen.products:
        assert len(gradients) == 5
        for one, other in zip(gradients, kept, strict=True):
            assert one.stride() == other.stride() and one.dtype == other.dtype
        last = [g for g in gradients if g.ndim == 4 and not g.is_contiguous()]
        assert bool(last) == recipe.channels_last


@pytest.mark.parametrize("ahead", [1, 5, 16, 10**6])
def test_batches_are_the_same_however_many_are_augmented_at_once(ahead, monkeypatch):
    monkeypatch.setattr(training_samples, "AHEAD", ahead)
    recipe = replace(SGD, batch_size=4)
    with pretended():
        samples = images(recipe, 19, 3, 8)
        there = [*epoch_of(samples, recipe, torch.Generator().manual_seed(1))]
    held = Samples(samples.images.held, samples.mean.held, samples.std.held)
    here = [*epoch_of(held, recipe, torch.Generator().manual_seed(1))]
    assert [len(batch.index) for batch in there] == [4, 4, 4, 4, 3]
    for one, other in zip(there, here, strict=True):
        assert torch.equal(one.index.held, other.index)
        assert torch.equal(one.outcomes.held, other.outcomes)
        assert torch.equal(one.inputs.held, other.inputs)
