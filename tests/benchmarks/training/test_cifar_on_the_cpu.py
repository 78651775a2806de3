"""Photographs of CIFAR's shape on the CPU: our loop, its variants, and two others.

Few images, since a ResNet-18 takes seconds for a batch.
"""

import time
from dataclasses import replace

import loops
import ours
import photographs
import pytest
import torch
from measure import rows, take_turns
from photographs import MEAN, RECIPE, STD, build, place

from sdd.sparsity.kernel_choice import channels_last
from sdd.sparsity.masks import dense_masks
from sdd.training import augmentation

VARIANTS = {
    "channels last": {"channels_last": True},
    "bfloat16": {"precision": "bfloat16"},
    "bfloat16, channels last": {"precision": "bfloat16", "channels_last": True},
}
# images, turns, and how much slower the published epoch must be.
MODELS = {"vgg-3-3": (1280, 5, 1.5), "vgg-5-5": (256, 3, 1.1), "resnet18": (128, 3, 1.0)}


@pytest.mark.parametrize("name", MODELS)
def test_an_epoch(name, show):
    count, turns, target = MODELS[name]
    images, labels = photographs.make(count), torch.arange(count) % 10
    samples, masks = place(images), dense_masks(build(name))
    published = loops.Published(
        build(name), masks, (images, images[:1]), (labels, labels[:1]), RECIPE, mean=MEAN, std=STD
    )
    ready = place(images, normalised=True).images
    sides = {
        "ours": ours.epoch(build(name), masks, samples, labels, RECIPE),
        "published": published,
        "published, training pass alone": published.train,
        "plain, without augmentation": loops.plain(build(name), masks, ready, labels, RECIPE),
    }
    for variant, changes in VARIANTS.items():
        recipe = replace(RECIPE, **changes)
        model = build(name, channels_last=recipe.channels_last)
        sides[f"ours, {variant}"] = ours.epoch(model, masks, samples, labels, recipe)
    timing = take_turns(sides, turns)
    show(
        f"An epoch of {name}, {count} photographs, one thread, {turns} turns (processor time)",
        rows(timing, count, {"published": f">= {target}"}),
    )
    assert timing.ratio("published", "ours") >= target


@pytest.mark.parametrize(("name", "count"), [("vgg-3-3", 256), ("resnet18", 128)])
def test_the_automatic_layout(name, count, show):
    """Against the textbook loop; of the models that are trained on photographs, few images."""
    images, labels = photographs.make(count), torch.arange(count) % 10
    samples, masks = place(images), dense_masks(build(name))
    ready = place(images, normalised=True).images
    auto = replace(RECIPE, channels_last="auto")
    model = build(name, channels_last=channels_last(auto, torch.device("cpu")))
    timing = take_turns(
        {
            "ours, auto": ours.epoch(model, masks, samples, labels, auto),
            "ours, default layout": ours.epoch(build(name), masks, samples, labels, RECIPE),
            "plain, without augmentation": loops.plain(build(name), masks, ready, labels, RECIPE),
        },
        turns=3,
    )
    show(
        f"An epoch of {name}, {count} photographs, one thread, 3 turns (processor time)",
        rows(timing, count, {"plain, without augmentation": "1.3"}),
    )
    # Five per cent are what such a ratio varies by on shared cores.
    assert timing.ratio("plain, without augmentation", "ours, auto") >= 0.95


@pytest.mark.parametrize("name", ["vgg-3-3", "vgg-5-5"])
def test_the_share_of_a_step_that_prepares_its_batch(name, show):
    """Selecting, augmenting and normalising a batch, against the whole step."""
    images, labels = photographs.make(1280), torch.arange(1280) % 10
    samples, generator = place(images), torch.Generator().manual_seed(0)
    index = torch.randperm(1280, generator=generator)[:128]
    outcomes = augmentation.draw(128, generator)
    chosen = samples.images.index_select(0, index)
    few = place(images[:128])
    parts = {
        "whole step": ours.epoch(build(name), dense_masks(build(name)), few, labels[:128], RECIPE),
        "select": lambda: samples.images.index_select(0, index),
        "flip and crop": lambda: augmentation.flip_and_crop(chosen, outcomes),
        "normalise": lambda: samples.normalise(chosen),
    }
    repeats = 20
    seconds = {}
    for part, run in parts.items():
        times = 1 if part == "whole step" else repeats
        timing = take_turns({part: lambda run=run, n=times: [run() for _ in range(n)]}, 7)
        seconds[part] = timing.median(part) / times
    show(
        f"Parts of a step of {name}, 128 photographs (processor time)",
        [
            {
                "part": part,
                "ms": f"{1e3 * s:.3f}",
                "share": f"{100 * s / seconds['whole step']:.2f} %",
            }
            for part, s in seconds.items()
        ],
    )
    preparation = sum(seconds[part] for part in ("select", "flip and crop", "normalise"))
    assert preparation < 0.05 * seconds["whole step"]


def test_worker_process(show):
    """The published loop with one worker that augments while this process trains."""
    name, count = "vgg-3-3", 1280
    images, labels = photographs.make(count), torch.arange(count) % 10
    masks = dense_masks(build(name))
    published = loops.Published(
        build(name), masks, (images, images[:1]), (labels, labels[:1]), RECIPE,
        mean=MEAN, std=STD, workers=1,
    )  # fmt: skip
    timing = take_turns(
        {
            "ours": ours.epoch(build(name), masks, place(images), labels, RECIPE),
            "published, 1 worker": published,
            "published, 1 worker, training pass alone": published.train,
        },
        turns=3,
        clock=time.perf_counter,
    )
    show(
        f"An epoch of {name}, {count} photographs, 3 turns (wall clock)",
        rows(timing, count, {"published, 1 worker": ">= 1"}),
    )
    assert timing.ratio("published, 1 worker", "ours") >= 1
