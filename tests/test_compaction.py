"""A compacted round against the same round of the full masked network, in float64."""

import copy
from dataclasses import replace

import pytest
import torch
from torch import nn

from sdd import compaction, cost, models, pruning, training
from sdd.optimizer import Optimizer
from sdd.settings import Pruning, Recipe

SGD = Recipe("sgd", 0.05, 1e-2, 16, 4, "multistep", momentum=0.9, milestones=(3,))
ADAMW = Recipe("adamw", 1e-2, 0.1, 16, 3, "cosine")
RECIPES = pytest.mark.parametrize("recipe", [SGD, ADAMW], ids=["sgd", "adamw"])
LENET = ("lenet-300-100", (1, 6, 6))
VGG = ("vgg-2-3", (1, 16, 16))
SAMPLES = 50  # the last batch of an epoch is a small one


def build(name, shape):
    model = models.build(name, channels=shape[0], size=shape[1], classes=10, seed=1)
    return model.double()


def problem(shape):
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(SAMPLES, *shape, generator=generator, dtype=torch.float64)
    labels = torch.randint(10, (SAMPLES,), generator=generator)
    one = torch.ones(1, 1, 1, dtype=torch.float64)
    return training.Samples(images, 0 * one, one), labels


def train(model, masks, recipe, shape, seed=2):
    samples, labels = problem(shape)
    training.train(
        model, masks, samples, labels, labels, recipe, training.cross_entropy(labels),
        generator=torch.Generator().manual_seed(seed), report=lambda _: None,
    )  # fmt: skip


def sparse_products(model, masks, recipe):
    return compaction.sparse_products(model, masks)


def fewer_units(model, masks, recipe):
    return compaction.fewer_units(model, masks, recipe, SAMPLES)


WAYS = pytest.mark.parametrize("compact", [sparse_products, fewer_units])


@pytest.fixture
def every_unit(monkeypatch):
    """Cuts each parked unit; not only as many as round a width."""
    monkeypatch.setattr(compaction, "MULTIPLE", 1)


def assert_same_network(full, restored, masks, shape):
    """Equal parameters and outputs, and equal statistics of the units that an output depends on."""
    ours, theirs = restored.state_dict(), full.state_dict()
    parameters = dict(full.named_parameters())
    live = live_by_gradient(full, masks, shape)
    for name, value in theirs.items():
        if name not in parameters and not name.endswith("num_batches_tracked"):
            units = live[name.rpartition(".")[0]]
            torch.testing.assert_close(ours[name][units], value[units], rtol=1e-10, atol=1e-10)
        else:
            torch.testing.assert_close(ours[name], value, rtol=0, atol=1e-10, msg=name)
    samples, _ = problem(shape)
    expected, logits = (training.predict(m, samples, SGD) for m in (full, restored))
    torch.testing.assert_close(logits, expected, rtol=1e-9, atol=1e-9)


def live_by_gradient(model, masks, shape):
    """Which units have a path of kept weights to an output, told by gradients of positive sums.

    Under the name of every layer that has a tensor for each unit.
    """
    model = copy.deepcopy(model).eval()
    with torch.no_grad():
        for name, value in model.state_dict().items():
            value.copy_(masks.get(name, torch.tensor(0.0 if "mean" in name else 1.0)))
    outputs = {}

    def note(name):
        return lambda layer, inputs, output: outputs.setdefault(name, output).retain_grad()

    for name, layer in model.named_modules():
        if isinstance(layer, nn.Linear | nn.Conv2d | nn.BatchNorm2d):
            layer.register_forward_hook(note(name))
    model(torch.ones(1, *shape, dtype=torch.float64)).sum().backward()
    return {name: y.grad[0].flatten(1).any(1) if y.dim() == 4 else y.grad[0] != 0
            for name, y in outputs.items()}  # fmt: skip


@pytest.mark.parametrize(
    "network, compact, recipe, least",
    [
        (LENET, sparse_products, SGD, 22),
        (LENET, sparse_products, ADAMW, 22),
        (LENET, fewer_units, SGD, 20),
        (LENET, fewer_units, ADAMW, 20),
        (VGG, fewer_units, SGD, 15),
    ],
)
def test_a_chain_of_29_rounds(network, compact, recipe, least, every_unit):
    full, restored = build(*network), build(*network)
    masks = pruning.dense_masks(full)
    compacted_rounds = 0
    for number in range(29):
        if number:
            chosen = [
                pruning.prune(pruning.prunable(model), masks, Pruning(0.2))
                for model in (full, restored)
            ]
            assert all(torch.equal(chosen[0][name], chosen[1][name]) for name in masks)
            masks = chosen[0]
            for model in (full, restored):
                pruning.apply(pruning.prunable(model), masks)
        train(full, masks, recipe, network[1], seed=number)
        if small := compact(restored, masks, recipe):
            compacted_rounds += 1
            train(small.model, small.masks, recipe, network[1], seed=number)
            small.restore(restored)
        else:
            train(restored, masks, recipe, network[1], seed=number)
        assert_same_network(full, restored, masks, network[1])
    assert compacted_rounds >= least


def sparse_masks(model, *, keep=0.2, pruned=()):
    """Random masks; `pruned` names weights and the rows and columns of them that go entirely."""
    generator = torch.Generator().manual_seed(3)
    masks = {
        name: torch.rand(weight.shape, generator=generator) < keep
        for name, weight in pruning.prunable(model).items()
    }
    for name, rows, columns in pruned:
        masks[name][rows, columns] = False
    return masks


ALL = slice(None)
SOME = slice(3, 90)
FEW = slice(1, 3)
EDGES = {
    "no incoming": (LENET, [("fc1.weight", SOME, ALL)]),
    "no incoming, twice": (LENET, [("fc1.weight", SOME, ALL), ("fc2.weight", FEW, ALL)]),
    "no outgoing": (LENET, [("fc2.weight", ALL, SOME), ("fc3.weight", ALL, slice(5, 50))]),
    "first layer gone": (LENET, [("fc1.weight", ALL, ALL)]),
    "hidden layer gone": (LENET, [("fc2.weight", ALL, ALL)]),
    "last layer gone": (LENET, [("fc3.weight", ALL, ALL)]),
    "an output gone": (LENET, [("fc3.weight", FEW, ALL), ("fc3.weight", ALL, SOME)]),
    "channels without incoming": (VGG, [("7.weight", FEW, ALL), ("10.weight", ALL, slice(3, 4))]),
    "channels without outgoing": (VGG, [("10.weight", ALL, FEW), ("17.weight", ALL, slice(0, 9))]),
    "channels of the classifier": (VGG, [("23.weight", ALL, slice(49, 49 * 9))]),
    "a convolution gone": (VGG, [("10.weight", ALL, ALL)]),
    "the classifier gone": (VGG, [("23.weight", ALL, ALL)]),
}


@WAYS
@pytest.mark.parametrize("recipe", [SGD, replace(SGD, momentum=0.0), ADAMW])
@pytest.mark.parametrize("multiple", [1, 8])
@pytest.mark.parametrize("edge", EDGES)
def test_edges(edge, compact, recipe, multiple, monkeypatch):
    network, pruned = EDGES[edge]
    if network is VGG and recipe is ADAMW:
        pass
    monkeypatch.setattr(compaction, "MULTIPLE", multiple)
    full = build(*network)
    masks = sparse_masks(full, pruned=pruned)
    pruning.apply(pruning.prunable(full), masks)
    restored = copy.deepcopy(full)
    small = compact(restored, masks, recipe)
    train(full, masks, recipe, network[1])
    train(small.model, small.masks, recipe, network[1])
    small.restore(restored)
    assert_same_network(full, restored, masks, network[1])
