"""Times the kernels that `sdd.machine.processor` chooses among, in a process of its own.

    PYTHONPATH=. ATEN_CPU_CAPABILITY=avx2 python tests/benchmarks/kernels.py

prints as JSON the ratios of every pair of sides, a value a turn. Layers are LeNet-300-100's, in
batches of 128; the small ones of ResNet-18's and a VGG-like's kind stand for convolutions.
"""

import json
import statistics
from collections.abc import Callable

import lenet
import loops
import ours
import photographs
import torch
from measure import take_turns
from torch import nn

from sdd.machine.processor import Kernels
from sdd.sparsity.kernels import OneDnnLinear, SparseLinear
from sdd.sparsity.masks import counts, dense_masks

LAYERS = {"784x300": (784, 300), "300x100": (300, 100), "100x10": (100, 10)}
SHARES = (0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4)
CONVOLUTIONS = {"vgg-3-3": 128, "resnet18": 16}  # images of a step
LAYOUTS = {"default layout": torch.contiguous_format, "channels last": torch.channels_last}
BATCH, STEPS, TURNS = 128, 10, 5


def step(layer: nn.Module, inputs: int, outputs: int) -> Callable[[], None]:
    """Some forward and backward passes of a layer behind another one."""
    x = torch.randn(BATCH, inputs, requires_grad=inputs != 784)
    gradient = torch.randn(BATCH, outputs)

    def run() -> None:
        for _ in range(STEPS):
            layer.zero_grad()
            x.grad = None
            layer(x).backward(gradient)

    return run


def layers() -> dict[str, list[float]]:
    """torch's time over that of oneDNN, and theirs over that of sparse products."""
    ratios = {}
    for name, (inputs, outputs) in LAYERS.items():
        linear = nn.Linear(inputs, outputs)
        sides = {"torch": linear, "oneDNN": OneDnnLinear(linear)}
        shares = SHARES if outputs > 10 else ()
        for share in shares:
            sides[f"sparse {share}"] = SparseLinear(linear, torch.rand(outputs, inputs) < share)
        runs = {side: step(layer, inputs, outputs) for side, layer in sides.items()}
        timing = take_turns(runs, TURNS)
        ratios[f"{name}: torch / oneDNN"] = timing.ratios("torch", "oneDNN")
        for share in shares:
            for dense in ("torch", "oneDNN"):
                pair = timing.ratios(dense, f"sparse {share}")
                ratios[f"{name}: {dense} / sparse {share}"] = pair
    return ratios


def whole_lenet() -> dict[str, list[float]]:
    """The plain loop's time over ours, by this processor's kernels and by torch's dense products:
    of the dense network, and of sparse ones."""
    samples, labels = lenet.digits(torch.Generator().manual_seed(0))
    model = lenet.build()
    networks = [("dense", model, dense_masks(model))]
    for _, model, masks in lenet.rounds():
        kept, total = counts(masks)
        networks.append((f"{100 * (1 - kept / total):.1f} %", model, masks))
    ratios = {}
    for name, model, masks in networks:
        rest = samples, labels, lenet.RECIPE
        timing = take_turns(
            {
                "ours": ours.epoch(model, masks, *rest),
                "ours, torch's products": ours.masked(model, masks, *rest),
                "plain": loops.plain(model, masks, samples.images, labels, lenet.RECIPE),
            },
            TURNS,
        )
        for side in ("ours", "ours, torch's products"):
            ratios[f"lenet-300-100, {name}: plain / {side}"] = timing.ratios("plain", side)
    return ratios


def convolutions() -> dict[str, list[float]]:
    """The default layout's time over that of channels last."""
    ratios = {}
    for name, count in CONVOLUTIONS.items():
        images = torch.randn(count, *photographs.SHAPE)
        labels, runs = torch.arange(count) % 10, {}
        for side, layout in LAYOUTS.items():
            model = photographs.build(name).to(memory_format=layout)
            runs[side] = loops.plain(
                model, {}, images.contiguous(memory_format=layout), labels, photographs.RECIPE
            )
        timing = take_turns(runs, TURNS)
        ratios[f"{name}: {' / '.join(LAYOUTS)}"] = timing.ratios(*LAYOUTS)
    return ratios


def choose(ratios: dict[str, list[float]]) -> Kernels:
    """What was faster in most turns; sparse products by LeNet's first layer, which has 0.88 of its
    weights."""

    def faster(pair: str) -> bool:
        return statistics.median(ratios[pair]) > 1

    large, middle, _ = LAYERS

    def densest(dense: str) -> float:
        wins = [share for share in SHARES if faster(f"{large}: {dense} / sparse {share}")]
        return max(wins, default=0.0)

    onednn_from = None
    if faster(f"{large}: torch / oneDNN"):
        onednn_from = 10_000 if faster(f"{middle}: torch / oneDNN") else 100_000
    return Kernels(
        onednn_from,
        densest("torch"),
        densest("oneDNN"),
        all(faster(f"{name}: {' / '.join(LAYOUTS)}") for name in CONVOLUTIONS),
    )


if __name__ == "__main__":
    torch.set_num_threads(1)
    torch.manual_seed(0)
    print(json.dumps(whole_lenet() | layers() | convolutions()))
