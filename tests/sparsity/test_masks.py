"""Pruning: exact counts, only what remains, the smallest first, ties by position."""

import numpy as np
import pytest
import torch
from torch import nn
from toy import by_magnitude

from sdd.base.errors import StudyError
from sdd.models.build import build
from sdd.sparsity import masks as sparsity
from sdd.sparsity.criteria import Evidence, at_random, gradient
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
        masks = sparsity.prune(by_magnitude(weights), before, Pruning(fraction))
        expected -= round(fraction * expected)
        assert sparsity.counts(masks)[0] == expected
        assert all(not (masks[name] & ~before[name]).any() for name in masks)


def test_what_is_kept_is_above_what_is_cut_across_layers():
    model = lenet()
    weights, masks = sparsity.prunable(model), sparsity.dense_masks(model)
    for _ in range(3):
        before, masks = masks, sparsity.prune(by_magnitude(weights), masks, Pruning(0.2))
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
        by_magnitude({n: torch.from_numpy(w) for n, w in layers.items()}),
        {n: torch.from_numpy(m) for n, m in masks.items()},
        Pruning(0.3),
    )
    for layer, name in enumerate(layers):
        for i in np.ndindex(layers[name].shape):
            assert bool(result[name][i]) == (bool(masks[name][i]) and (layer, i) not in gone)


def test_of_equal_magnitudes_the_first_go():
    weights = {"a": torch.tensor([[1.0, -1.0]]), "b": torch.tensor([[1.0, 1.0], [-1.0, 0.5]])}
    masks = {name: torch.ones_like(w, dtype=torch.bool) for name, w in weights.items()}
    result = sparsity.prune(by_magnitude(weights), masks, HALF)
    assert result["a"].tolist() == [[False, False]]
    assert result["b"].tolist() == [[True, True], [True, False]]


def test_scope_layer_prunes_each_layer_by_itself():
    weights = {"a": torch.tensor([[1.0, 2.0]]), "b": torch.tensor([[10.0, 20.0, 30.0, 40.0]])}
    masks = {name: torch.ones_like(w, dtype=torch.bool) for name, w in weights.items()}
    result = sparsity.prune(by_magnitude(weights), masks, Pruning(0.5, scope="layer"))
    assert result["a"].tolist() == [[False, True]]
    assert result["b"].tolist() == [[False, False, True, True]]


def test_neither_weights_nor_masks_change_until_applied():
    model = lenet()
    weights, masks = sparsity.prunable(model), sparsity.dense_masks(model)
    before = {name: w.detach().clone() for name, w in weights.items()}
    result = sparsity.prune(by_magnitude(weights), masks, HALF)
    assert all(torch.equal(before[n], weights[n]) and masks[n].all() for n in masks)
    sparsity.apply(weights, result)
    for name, mask in result.items():
        assert not weights[name][~mask].any()
        assert torch.equal(weights[name][mask], before[name][mask])


@pytest.mark.parametrize("scope", ["global", "layer"])
def test_one_shot_prunes_as_many_as_its_rounds_would(scope):
    """Counts follow each other's roundings; what goes is ranked by the dense weights alone."""
    weights, dense = sparsity.prunable(lenet()), sparsity.dense_masks(lenet())
    pruning, step, scores = Pruning(0.37, scope), dense, by_magnitude(weights)
    for times in range(1, 15):
        step = sparsity.prune(scores, step, pruning)
        at_once = sparsity.prune(scores, dense, pruning, times)
        assert all(torch.equal(at_once[name], step[name]) for name in dense)


@pytest.mark.parametrize(("keep", "name"), [("last", "fc3.weight"), ("first", "fc1.weight"),
                                            ("fc2", "fc2.weight")])  # fmt: skip
def test_a_layer_that_is_kept_counts_but_loses_nothing(keep, name):
    weights, masks = sparsity.prunable(lenet()), sparsity.dense_masks(lenet())
    pruning, expected = Pruning(0.2, keep=(keep,)), 266_200
    for _ in range(5):
        masks = sparsity.prune(by_magnitude(weights), masks, pruning)
        expected = max(expected - round(0.2 * expected), masks[name].numel())
        assert masks[name].all()
        assert sparsity.counts(masks)[0] == expected


def test_the_chain_of_he_et_al_ends_with_its_last_layer():
    """All layers but the last, 20 % of all that is left: at level 24 it holds most of what is."""
    weights, masks = sparsity.prunable(lenet()), sparsity.dense_masks(lenet())
    pruning = Pruning(0.2, keep=("last",))
    for _ in range(24):
        masks = sparsity.prune(by_magnitude(weights), masks, pruning)
    kept, total = sparsity.counts(masks)
    assert round(100 * (1 - kept / total), 2) == 99.53
    assert masks["fc3.weight"].sum() == 1000
    for _ in range(3):  # the others are used up, and nothing more goes
        masks = sparsity.prune(by_magnitude(weights), masks, pruning)
    assert {name: int(mask.sum()) for name, mask in masks.items()} == {
        "fc1.weight": 0, "fc2.weight": 0, "fc3.weight": 1000,
    }  # fmt: skip


def test_a_layer_to_keep_that_is_not_there_is_named():
    weights, masks = sparsity.prunable(lenet()), sparsity.dense_masks(lenet())
    with pytest.raises(StudyError, match=r"no layer 'fc4' .* first, last, fc1, fc2, fc3"):
        sparsity.prune(by_magnitude(weights), masks, Pruning(0.2, keep=("fc1", "fc4")))


def evidence(weights, seed=0, gradients=dict):
    return Evidence(weights, {}, gradients, torch.Generator().manual_seed(seed))


def test_random_scores_are_drawn_from_the_generator_and_uniform():
    weights = sparsity.prunable(lenet())
    scores = at_random(evidence(weights))
    assert all(scores[name].shape == weight.shape for name, weight in weights.items())
    again, other = at_random(evidence(weights)), at_random(evidence(weights, 1))
    assert all(torch.equal(again[name], scores[name]) for name in weights)
    assert not torch.equal(other["fc1.weight"], scores["fc1.weight"])
    masks = sparsity.prune(scores, sparsity.dense_masks(lenet()), HALF)
    for name, mask in masks.items():  # of each layer about half: five standard errors
        assert abs(mask.float().mean() - 0.5) < 2.5 / mask.numel() ** 0.5, name


def test_the_gradient_criterion_is_the_product_of_weight_and_gradient():
    weights = {"a": torch.tensor([[1.0, -2.0]]), "b": torch.tensor([[0.0, 3.0]])}
    gradients = {"a": torch.tensor([[-0.5, 0.1]]), "b": torch.tensor([[9.0, 0.2]])}
    scores = gradient(evidence(weights, gradients=lambda: gradients))
    torch.testing.assert_close(scores["a"], torch.tensor([[0.5, 0.2]]))
    torch.testing.assert_close(scores["b"], torch.tensor([[0.0, 0.6]]))
