"""MACs against counts by hand."""

import subprocess
import sys

import pytest
import torch
from conftest import ROOT
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from sdd.analysis.paper import TABLE_1, TABLE_2, paper_flops
from sdd.models.build import build
from sdd.sparsity import cost


def test_lenet_by_hand():
    model = build("lenet-300-100", channels=1, size=28, classes=10, seed=0)
    counted = cost.count(model, (1, 28, 28))
    forward = 784 * 300 + 300 * 100 + 100 * 10
    assert counted.forward_macs == forward == 266_200
    # Backward: the weights' gradients in every layer, the inputs' in all but the first.
    assert counted.step_macs == forward + forward + 300 * 100 + 100 * 10


def test_convolutions_by_hand():
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 16, 3, stride=2, padding=1),
        nn.Flatten(), nn.Linear(16 * 16 * 16, 10),
    )  # fmt: skip
    first, second, last = 32 * 32 * 3 * 8 * 9, 16 * 16 * 8 * 16 * 9, 4096 * 10
    counted = cost.count(model, (3, 32, 32))
    assert counted.forward_macs == first + second + last
    assert counted.step_macs == 2 * first + 3 * second + 3 * last


def test_the_papers_rule():
    assert cost.training_flops(macs=7, images=50_000, epochs=160) == 160 * 50_000 * 3 * 7


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("lenet-300-100", (1, 28, 28)),
        ("resnet18", (3, 32, 32)),
        ("vit", (3, 32, 32)),
        ("vgg-5-5", (3, 32, 32)),
        ("vgg-5-5-averaged", (3, 32, 32)),
    ],
)
def test_counts_equal_those_of_torchs_own_counter(name, shape):
    model = build(name, channels=shape[0], size=shape[1], classes=10, seed=0)
    counted = cost.count(model, shape)
    model.to("meta")
    with FlopCounterMode(display=False) as forward, torch.no_grad():
        model(torch.empty(1, *shape, device="meta"))
    with FlopCounterMode(display=False) as step:
        model(torch.empty(1, *shape, device="meta")).sum().backward()
    assert 2 * counted.forward_macs == forward.get_total_flops()
    assert 2 * counted.step_macs == step.get_total_flops()


def test_counting_imports_no_compiler():
    code = (
        "import sys, torch; from sdd.sparsity import cost;"
        "cost.count(torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 2)), (1, 2, 2));"
        "assert 'torch._dynamo' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


@pytest.mark.parametrize("printed", [TABLE_1, TABLE_2], ids=["table 1", "table 2"])
def test_the_papers_tables_follow_from_its_models_and_the_rule(printed):
    """Trainings x epochs x 50,000 images x 3 x MAC, the MACs counted on our own models."""
    for name in printed.models:
        model = build(name, channels=3, size=32, classes=10, seed=0)
        macs = cost.count(model, (3, 32, 32)).forward_macs
        for row in printed.rows.values():
            ours = row.trainings * cost.training_flops(macs, 50_000, printed.epochs)
            assert ours == pytest.approx(row.flops, rel=0.015)
            assert ours == paper_flops(row.trainings, printed.epochs, macs)
