"""What a network is like, against formulas by hand."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from sdd.models.build import build
from sdd.training import diagnostics
from sdd.training.diagnostics import Activity


def entropy_by_hand(layers):
    """Of each layer's units [n, units], one after the other, by the definition."""
    means = []
    for values in layers:
        units = []
        for unit in np.asarray(values).T:
            share = (unit > 0).mean()
            terms = [p * math.log2(p) for p in (share, 1 - share) if p > 0]
            units.append(-sum(terms))
        means.append(sum(units) / len(units))
    return sum(means) / len(means)


def watched(model, *batches):
    with torch.no_grad(), Activity() as activity:
        for batch in batches:
            activity.begin()
            model(batch)
    return activity


def test_entropy_of_a_network_of_linear_layers():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 20), nn.ReLU(), nn.Linear(20, 5), nn.ReLU(), nn.Linear(5, 2))
    x = torch.randn(64, 6)
    first = model[0](x).detach()
    second = model[2](first.relu()).detach()
    activity = watched(model, x[:50], x[50:])
    assert activity.entropy() == pytest.approx(entropy_by_hand([first, second]), abs=1e-12)


def test_a_maps_pixels_count_like_images_and_a_units_last_axis_is_its_own():
    torch.manual_seed(0)
    x = torch.randn(8, 3, 5, 5)
    of_map = watched(nn.ReLU(), x).entropy()
    assert of_map == pytest.approx(entropy_by_hand([x.transpose(0, 1).reshape(3, -1).T]), abs=1e-12)
    tokens = torch.randn(4, 7, 6)
    of_tokens = watched(nn.GELU(), tokens).entropy()
    assert of_tokens == pytest.approx(entropy_by_hand([tokens.reshape(-1, 6)]), abs=1e-12)


@pytest.mark.parametrize(
    ("gate", "count"),
    [
        (lambda x: x.relu(), 1), (torch.relu, 1), (F.relu, 1), (F.gelu, 1), (torch.tanh, 0),
        (lambda x: F.relu(F.gelu(x)), 2), (lambda x: x.clone().relu_(), 1), (nn.ReLU(True), 1),
        (lambda x: F.relu(x.clone(), inplace=True), 1),
    ],
)  # fmt: skip
def test_however_a_gate_is_called_it_is_seen_once(gate, count):
    activity = watched(gate, torch.randn(10, 4))
    assert len(activity._positive) == count
    assert (activity.entropy() is None) == (count == 0)


@pytest.mark.parametrize(
    ("name", "gates"), [("resnet18-4", 17), ("vgg-2-3", 6), ("vit-64-2", 2), ("mlp-9-4", 2)]
)
def test_gates_of_the_models(name, gates):
    model = build(name, channels=3, size=32, classes=10, seed=0).eval()
    activity = watched(model, torch.randn(3, 3, 32, 32), torch.randn(2, 3, 32, 32))
    assert len(activity._positive) == gates
    assert 0 < activity.entropy() <= 1


def test_a_unit_that_is_always_on_or_never_has_no_entropy():
    x = torch.tensor([[1.0, -1.0, 1.0], [2.0, -3.0, -1.0]])
    assert watched(nn.ReLU(), x).entropy() == pytest.approx(1 / 3)


def test_calibration_error_against_a_sum_over_bins():
    torch.manual_seed(0)
    logits, labels = 3 * torch.randn(500, 4), torch.randint(4, (500,))
    probabilities = torch.softmax(logits.double(), 1).numpy()
    confidence, right = probabilities.max(1), probabilities.argmax(1) == labels.numpy()
    expected = 0.0
    for b in range(15):
        inside = (confidence > b / 15) & (confidence <= (b + 1) / 15)
        if inside.any():
            gap = abs(right[inside].mean() - confidence[inside].mean())
            expected += inside.mean() * gap
    assert diagnostics.calibration_error(logits, labels) == pytest.approx(100 * expected, abs=1e-9)


def test_who_is_sure_and_right_is_calibrated_and_who_is_sure_and_wrong_is_not():
    logits = torch.tensor([[100.0, 0, 0]] * 4)
    assert diagnostics.calibration_error(logits, torch.zeros(4, dtype=int)) == pytest.approx(0)
    assert diagnostics.calibration_error(logits, torch.ones(4, dtype=int)) == pytest.approx(100)
    even = torch.zeros(3, 3)  # a third each, and right once in three
    assert diagnostics.calibration_error(even, torch.arange(3)) == pytest.approx(0, abs=1e-9)


def test_top_accuracy():
    logits = torch.arange(20.0).repeat(20, 1)  # the five likeliest are 15 to 19
    assert diagnostics.top_accuracy(logits, torch.arange(20)) == 25.0
    assert diagnostics.top_accuracy(logits[:, :10], torch.arange(10).repeat(2)) is None


def test_learning_distance_leaves_out_what_is_pruned():
    first = {"w": torch.tensor([[1.0, 2.0, 3.0]]), "b": torch.tensor([0.5])}
    now = {"w": torch.tensor([[4.0, 0.0, 3.0]]), "b": torch.tensor([-3.5])}
    masks = {"w": torch.tensor([[True, False, True]])}
    assert diagnostics.learning_distance(now, first, masks) == 5.0
    assert diagnostics.learning_distance(first, first, masks) == 0.0


def test_live_units_have_an_incoming_weight():
    mask = torch.zeros(4, 3, 2, 2, dtype=torch.bool)
    mask[1, 2, 0, 1] = mask[3, 0, 0, 0] = True
    assert diagnostics.live_units(mask) == 2
