"""Images a second on a GPU, for the paper's models and batch sizes, and the share of its peak.

The peak is that of a large bfloat16 matrix product in the same run. Without CUDA the same code runs
on the CPU with a few images, to be tested, and its times say nothing: they are "not measured".
"""

import time
from dataclasses import replace

import loops
import numpy as np
import ours
import photographs
import pytest
import torch
from measure import take_turns

from sdd.sparsity import cost
from sdd.sparsity.masks import dense_masks

CUDA = torch.cuda.is_available()
DEVICE = torch.device("cuda" if CUDA else "cpu")
SGD = photographs.RECIPE
ADAMW = replace(SGD, optimizer="adamw", learning_rate=1e-4, weight_decay=0.03, batch_size=512)
# The recipe, and how many images an epoch has.
MODELS = {"resnet18": (SGD, 12_800), "vgg-5-5": (SGD, 45_056), "vit": (ADAMW, 10_240)}
TURNS = 5 if CUDA else 1
WORKERS = 4 if CUDA else 0


def synchronised(run):
    def call() -> None:
        run()
        if CUDA:
            torch.cuda.synchronize()

    return call


@pytest.fixture(scope="module")
def peak() -> float:
    """FLOP a second, a multiply-accumulate counted as two."""
    size = 8192 if CUDA else 64
    a, b = (torch.randn(size, size, device=DEVICE, dtype=torch.bfloat16) for _ in range(2))
    timing = take_turns({"product": synchronised(lambda: a @ b)}, 20, time.perf_counter)
    return 2 * size**3 / min(timing.seconds["product"])


@pytest.mark.parametrize("name", MODELS)
def test_images_a_second(name, peak, show):
    recipe, count = MODELS[name]
    if not CUDA:
        recipe, count = replace(recipe, batch_size=4), 8
    images, labels = photographs.make(count), (torch.arange(count) % 10).to(DEVICE)

    def build(channels_last: bool = False):
        return photographs.build(name, channels_last=channels_last).to(DEVICE)

    step_macs = cost.count(build().cpu(), photographs.SHAPE).step_macs
    masks = dense_masks(build())
    samples, ready = (
        photographs.place(images, device=DEVICE, normalised=normalised)
        for normalised in (False, True)
    )
    fast = replace(recipe, precision="bfloat16", channels_last=name != "vit")
    published = loops.Published(
        build(), masks, (images, images[:1]), (labels.cpu(), labels[:1].cpu()), recipe,
        mean=photographs.MEAN, std=photographs.STD, workers=WORKERS, device=DEVICE,
    )  # fmt: skip
    timing = take_turns(
        {
            side: synchronised(run)
            for side, run in {
                "ours": ours.epoch(build(), masks, samples, labels, recipe),
                "ours, bfloat16": ours.epoch(
                    build(fast.channels_last), masks, samples, labels, fast
                ),
                "plain, without augmentation": loops.plain(
                    build(), masks, ready.images, labels, recipe
                ),
                f"published, training pass, {WORKERS} workers": published.train,
            }.items()
        },
        TURNS,
        time.perf_counter,
    )

    def measured(text: str) -> str:
        return text if CUDA else "not measured"

    show(
        f"{name}, batches of {recipe.batch_size}, on "
        + (torch.cuda.get_device_name() if CUDA else "the CPU, to test this benchmark"),
        [
            {
                "loop": side,
                "images/s": measured(f"{count / timing.median(side):,.0f}"),
                "times ours": measured(timing.spread(side, "ours")),
                "of the bf16 peak": measured(
                    f"{200 * step_macs * count / timing.median(side) / peak:.1f} %"
                ),
            }
            for side in timing.seconds
        ]
        + [
            {
                "loop": "bf16 peak",
                "images/s": "",
                "times ours": "",
                "of the bf16 peak": measured(f"{peak / 1e12:.0f} TFLOP/s"),
            }
        ],
    )
    assert all(np.isfinite(seconds).all() for seconds in timing.seconds.values())
