"""Pruning: exact counts, only what remains, the smallest first, ties by position."""

import numpy as np
import pytest
import torch
from torch import nn

from sdd.models.build import build
from sdd.sparsity import masks as sparsity
from sdd.sparsity.criteria import magnitude
from sdd.study.settings import Pruning

HALF = Pruning(0.5)


def lenet() -> nn.Module:
    return build("lenet-300-100", channels=1, size=28, classes=10, seed=0)


def test_prunable_are_the_weights_of_linear_and_convolution_layers_only():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, 2))
    assert list(sparsity.prunable(model)) == ["0.weight", "3.weight"]
    assert sparsity.counts(sparsity.dense_masks(lenet())) == (266_200, 266_200)


@pytest.mark.parametrize("fraction", [0.2, 0.5, 0.37])
def test_each_round_prunes_exactly_its_share_of_what_remains_and_masks_only_shrink(fraction):
    model, masks = lenet(), sparsity.dense_masks(lenet())
    weights = sparsity.prunable(model)
    expected = 266_200
    for _ in range(28):
        before = masks
        masks = sparsity.prune(magnitude(weights), before, Pruning(fraction))
        expected -= round(fraction * expected)
        assert sparsity.counts(masks)[0] == expected
        assert all(not (masks[name] & ~before[name]).any() for name in masks)


def test_what_is_kept_is_above_what_is_cut_across_layers():
    model = lenet()
    weights, masks = sparsity.prunable(model), sparsity.dense_masks(model)
    for _ in range(3):
        before, masks = masks, sparsity.prune(magnitude(weights), masks, Pruning(0.2))
        cut = torch.cat([weights[n][before[n] & ~masks[n]].abs() for n in masks])
        kept = torch.cat([weights[n][masks[n]].abs() for n in masks])
        assert cut.max() <= kept.min()


def test_against_an_independent_ranking():
    rng = np.random.default_rng(0)
    layers = {"a": rng.normal(size=(5, 4)), "b": rng.normal(size=(3, 7))}
    masks = {name: rng.random(w.shape) < 0.8 for name, w in layers.items()}
    everything = sorted(
        (abs(w[i]), layer, i)
        for layer, (name, w) in enumerate(layers.items())
        for i in zip(*np.nonzero(masks[name]), strict=True)
    )
    gone = {(layer, i) for _, layer, i in everything[: round(0.3 * len(everything))]}
    result = sparsity.prune(
        magnitude({n: torch.from_numpy(w) for n, w in layers.items()}),
        {n: torch.from_numpy(m) for n, m in masks.items()},
        Pruning(0.3),
    )
    for layer, name in enumerate(layers):
        for i in np.ndindex(layers[name].shape):
            assert bool(result[name][i]) == (bool(masks[name][i]) and (layer, i) not in gone)


def test_of_equal_magnitudes_the_first_go():
    weights = {"a": torch.tensor([[1.0, -1.0]]), "b": torch.tensor([[1.0, 1.0], [-1.0, 0.5]])}
    masks = {name: torch.ones_like(w, dtype=torch.bool) for name, w in weights.items()}
    result = sparsity.prune(magnitude(weights), masks, HALF)
    assert result["a"].tolist() == [[False, False]]
    assert result["b"].tolist() == [[True, True], [True, False]]


def test_scope_layer_prunes_each_layer_by_itself():
    weights = {"a": torch.tensor([[1.0, 2.0]]), "b": torch.tensor([[10.0, 20.0, 30.0, 40.0]])}
    masks = {name: torch.ones_like(w, dtype=torch.bool) for name, w in weights.items()}
    result = sparsity.prune(magnitude(weights), masks, Pruning(0.5, scope="layer"))
    assert result["a"].tolist() == [[False, True]]
    assert result["b"].tolist() == [[False, False, True, True]]


def test_neither_weights_nor_masks_change_until_applied():
    model = lenet()
    weights, masks = sparsity.prunable(model), sparsity.dense_masks(model)
    before = {name: w.detach().clone() for name, w in weights.items()}
    result = sparsity.prune(magnitude(weights), masks, HALF)
    assert all(torch.equal(before[n], weights[n]) and masks[n].all() for n in masks)
    sparsity.apply(weights, result)
    for name, mask in result.items():
        assert not weights[name][~mask].any()
        assert torch.equal(weights[name][mask], before[name][mask])
