"""A compacted round against the same round of the full masked network, in float64."""

import copy
from dataclasses import replace

import pytest
import torch
from torch import nn
from toy import by_magnitude

from sdd.machine.processor import Kernels
from sdd.models.build import build as build_model
from sdd.models.resnet import BasicBlock
from sdd.sparsity import compaction, cost, kernels
from sdd.sparsity import masks as sparsity
from sdd.study.settings import Pruning, Recipe
from sdd.training.evaluation import predict
from sdd.training.loop import cross_entropy, train
from sdd.training.optimizer import Optimizer
from sdd.training.samples import Samples

SGD = Recipe("sgd", 0.05, 1e-2, 16, 4, "multistep", momentum=0.9, milestones=(3,))
ADAMW = Recipe("adamw", 1e-2, 0.1, 16, 3, "cosine")
RECIPES = pytest.mark.parametrize("recipe", [SGD, ADAMW], ids=["sgd", "adamw"])
LENET = ("lenet-300-100", (1, 6, 6))
VGG = ("vgg-2-3", (1, 16, 16))
AVERAGED = ("vgg-2-3-averaged", (1, 16, 16))
KERNELS = Kernels(10_000, 0.4, 0.25, channels_last=False)
SAMPLES = 50  # the last batch of an epoch is a small one


def build(name, shape):
    model = build_model(name, channels=shape[0], size=shape[1], classes=10, seed=1)
    return model.double()


def problem(shape):
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(SAMPLES, *shape, generator=generator, dtype=torch.float64)
    labels = torch.randint(10, (SAMPLES,), generator=generator)
    one = torch.ones(1, 1, 1, dtype=torch.float64)
    return Samples(images, 0 * one, one), labels


def fit(model, masks, recipe, shape, seed=2):
    samples, labels = problem(shape)
    train(
        model, masks, samples, labels, labels, recipe, cross_entropy(labels),
        generator=torch.Generator().manual_seed(seed), report=lambda _: None,
    )  # fmt: skip


def faster_products(model, masks, recipe):
    return compaction.faster_products(model, masks, KERNELS)


def fewer_units(model, masks, recipe):
    return compaction.fewer_units(model, masks, recipe, SAMPLES)


WAYS = pytest.mark.parametrize("compact", [faster_products, fewer_units])


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
            torch.testing.assert_close(ours[name], value, rtol=0, atol=1e-10)
    samples, _ = problem(shape)
    expected, logits = (predict(m, samples, SGD) for m in (full, restored))
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
        (LENET, faster_products, SGD, 22),
        (LENET, faster_products, ADAMW, 22),
        (LENET, fewer_units, SGD, 20),
        (LENET, fewer_units, ADAMW, 20),
        (VGG, fewer_units, SGD, 15),
        (AVERAGED, fewer_units, SGD, 15),
    ],
)
def test_a_chain_of_29_rounds(network, compact, recipe, least, every_unit):
    full, restored = build(*network), build(*network)
    masks = sparsity.dense_masks(full)
    compacted_rounds = 0
    for number in range(29):
        if number:
            chosen = [
                sparsity.prune(by_magnitude(sparsity.prunable(model)), masks, Pruning(0.2))
                for model in (full, restored)
            ]
            assert all(torch.equal(chosen[0][name], chosen[1][name]) for name in masks)
            masks = chosen[0]
            for model in (full, restored):
                sparsity.apply(sparsity.prunable(model), masks)
        fit(full, masks, recipe, network[1], seed=number)
        if small := compact(restored, masks, recipe):
            compacted_rounds += 1
            fit(small.model, small.masks, recipe, network[1], seed=number)
            small.restore(restored)
        else:
            fit(restored, masks, recipe, network[1], seed=number)
        assert_same_network(full, restored, masks, network[1])
    assert compacted_rounds >= least


def sparse_masks(model, *, keep=0.2, pruned=()):
    """Random masks; `pruned` names weights and the rows and columns of them that go entirely."""
    generator = torch.Generator().manual_seed(3)
    masks = {
        name: torch.rand(weight.shape, generator=generator) < keep
        for name, weight in sparsity.prunable(model).items()
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
    "channels without incoming": (VGG, [("7.weight", FEW, ALL), ("10.weight", ALL, slice(4, 7))]),
    "channels without outgoing": (VGG, [("10.weight", ALL, FEW), ("17.weight", ALL, slice(0, 9))]),
    "channels of the classifier": (VGG, [("23.weight", ALL, slice(49, 49 * 9))]),
    "averaged channels": (AVERAGED, [("23.weight", ALL, slice(49, 49 * 9))]),
    "a convolution gone": (VGG, [("10.weight", ALL, ALL)]),
    "the classifier gone": (VGG, [("23.weight", ALL, ALL)]),
}


# Behind a constant the batch norm's gradient is rounding noise. AdamW divides it by its own size,
# so that not even the masked network equals itself with its channels in another order.
NOISY = {"channels without incoming", "a convolution gone"}
BRIEF = {
    "sgd": replace(SGD, learning_rate=0.01, epochs=2, milestones=(1,)),
    "sgd without momentum": replace(SGD, momentum=0.0, learning_rate=0.01, epochs=2),
    "adamw": ADAMW,
}


@WAYS
@pytest.mark.parametrize("multiple", [1, 3])
@pytest.mark.parametrize(
    "edge, recipe", [(e, r) for e in EDGES for r in BRIEF if e not in NOISY or r != "adamw"]
)
def test_edges(edge, recipe, compact, multiple, monkeypatch):
    monkeypatch.setattr(compaction, "MULTIPLE", multiple)
    network, pruned = EDGES[edge]
    full = build(*network)
    masks = sparse_masks(full, pruned=pruned)
    sparsity.apply(sparsity.prunable(full), masks)
    restored = copy.deepcopy(full)
    small = compact(restored, masks, BRIEF[recipe])
    fit(full, masks, BRIEF[recipe], network[1])
    fit(small.model, small.masks, BRIEF[recipe], network[1])
    small.restore(restored)
    assert_same_network(full, restored, masks, network[1])


@RECIPES
def test_inner_channels_of_residual_blocks(recipe, every_unit):
    shape = (1, 4, 4)
    recipe = replace(recipe, learning_rate=1e-3, epochs=1, batch_size=25)
    full = build("resnet18", shape)
    masks = sparsity.dense_masks(full)
    for name, mask in masks.items():
        if name.endswith("conv2.weight"):
            mask[:, 5:] = False
    sparsity.apply(sparsity.prunable(full), masks)
    restored = copy.deepcopy(full)
    small = fewer_units(restored, masks, recipe)
    inner = [b for b in small.model.modules() if isinstance(b, BasicBlock)]
    assert [b.conv1.weight.shape[0] for b in inner] == [b.bn1.weight.shape[0] for b in inner]
    assert {b.conv1.weight.shape[0] for b in inner} == {5}
    fit(full, masks, recipe, shape)
    fit(small.model, small.masks, recipe, shape)
    small.restore(restored)
    for ours, theirs in zip(restored.parameters(), full.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-10)
    samples, _ = problem(shape)
    expected, logits = (predict(m, samples, recipe) for m in (full, restored))
    torch.testing.assert_close(logits, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    "recipe",
    [SGD, ADAMW, replace(SGD, momentum=0.0), replace(SGD, weight_decay=0.0)],
    ids=["sgd", "adamw", "no momentum", "no decay"],
)
def test_parked_weights_decay_as_the_optimizer_has_it(recipe):
    parameter = nn.Parameter(torch.tensor([1.0, -3.0], dtype=torch.float64))
    parameter.grad = torch.zeros_like(parameter)
    optimizer = Optimizer([parameter], recipe)
    for epoch in range(recipe.epochs):
        optimizer.set_learning_rate(recipe.learning_rate_at(epoch))
        for _ in range(4):  # 3 batches of 16 and one of 2
            optimizer.step()
    factor = compaction.parked_decay(recipe, SAMPLES)
    torch.testing.assert_close(parameter.tolist(), [factor, -3 * factor], rtol=1e-13, atol=0)
    assert (factor < 1) == (recipe.weight_decay > 0)


def test_gradients_of_the_sparse_product():
    generator = torch.Generator().manual_seed(0)
    x, full = (
        torch.randn(n, 7, generator=generator, dtype=torch.float64, requires_grad=True)
        for n in (4, 5)
    )
    mask = torch.rand(5, 7, generator=generator) < 0.4
    mask[2], mask[:, 3] = False, False
    bias = torch.randn(5, generator=generator, dtype=torch.float64, requires_grad=True)
    pattern = kernels.Pattern.of(mask, torch.float64)

    def product(x, full, bias):
        return kernels.SparseProduct.apply(x, full[mask], bias, pattern)

    torch.testing.assert_close(product(x, full, bias), x @ (full * mask).T + bias)
    assert torch.autograd.gradcheck(product, (x, full, bias))


def test_the_product_of_onednn():
    """Output and gradients, for a batch in either order of memory, against double precision."""
    generator = torch.Generator().manual_seed(0)
    weight, bias = (torch.randn(*s, generator=generator) for s in ((9, 40), (9,)))
    gradient = torch.randn(6, 9, generator=generator)
    for x in (torch.randn(6, 40, generator=generator), torch.randn(40, 6, generator=generator).t()):
        results = []
        for product, dtype in (
            (kernels.OneDnnProduct.apply, torch.float32),
            (torch.nn.functional.linear, torch.float64),
        ):
            leaves = [t.to(dtype).detach().requires_grad_() for t in (x, weight, bias)]
            output = product(*leaves)
            output.backward(gradient.to(dtype))
            results.append([output, *(leaf.grad for leaf in leaves)])
        for ours, exact in zip(*results, strict=True):
            torch.testing.assert_close(ours, exact.float(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("network, keep", [(LENET, 0.04), (VGG, 0.01)])
def test_live_units_are_those_with_a_path_to_an_output(network, keep):
    model = build(*network)
    masks = sparse_masks(model, keep=keep)
    expected = {
        name: int(units.sum())
        for name, units in live_by_gradient(model, masks, network[1]).items()
        if f"{name}.weight" in masks
    }
    counted = compaction.live_units(model, masks)
    assert counted == expected
    assert any(n < len(masks[f"{name}.weight"]) for name, n in counted.items())


def test_macs_of_sparse_products_are_those_of_kept_weights():
    model = build(*LENET)
    masks = sparse_masks(model, keep=0.1)
    first, second, third = (int(mask.sum()) for mask in masks.values())
    macs = faster_products(model, masks, SGD).step_macs(LENET[1])
    assert macs == 2 * first + 3 * (second + third)


def test_macs_of_fewer_units_are_those_of_the_small_network(every_unit):
    masks = sparse_masks(build(*VGG), pruned=[("10.weight", ALL, FEW)])
    small = fewer_units(build(*VGG), masks, SGD)
    dense = cost.count(build(*VGG).float(), VGG[1])
    expected = cost.count(copy.deepcopy(small.model).float(), VGG[1])
    assert small.step_macs(VGG[1]) == expected.step_macs < dense.step_macs


def test_widths_are_multiples(monkeypatch):
    monkeypatch.setattr(compaction, "MULTIPLE", 3)
    masks = sparsity.dense_masks(build(*VGG))
    masks["10.weight"][:, :4] = False  # 4 of 8 channels are parked; 6 are kept
    masks["17.weight"][:] = False  # and here all 16; 3 are kept
    small = fewer_units(build(*VGG), masks, SGD)
    assert small.model.get_submodule("7").weight.shape[0] == 3
    masks["17.weight"][:] = True
    small = fewer_units(build(*VGG), masks, SGD)
    assert small.model.get_submodule("7").weight.shape[0] == 6
    assert small.model.get_submodule("10").weight.shape[1] == 6


def test_compacting_touches_neither_the_model_nor_random_numbers(every_unit):
    for network, compact in ((LENET, faster_products), (VGG, fewer_units)):
        model = build(*network)
        masks = sparse_masks(model, pruned=[("23.weight", ALL, ALL)] if network is VGG else [])
        sparsity.apply(sparsity.prunable(model), masks)
        before, random = copy.deepcopy(model.state_dict()), torch.get_rng_state()
        small = compact(model, masks, SGD)
        assert torch.equal(random, torch.get_rng_state())
        fit(small.model, small.masks, SGD, network[1])
        for name, value in model.state_dict().items():
            assert torch.equal(value, before[name])


def test_the_right_way_for_each_model():
    def way(network, masks=None, **changes):
        model = build(*network)
        masks = masks or sparse_masks(model, keep=0.001)
        small = compaction.compact(model, masks, replace(SGD, **changes), SAMPLES)
        if small is None:
            return None
        kinds = {type(layer) for layer in small.model.modules()}
        if kernels.SparseLinear in kinds:
            return "sparse products"
        return "oneDNN" if kernels.OneDnnLinear in kinds else "fewer units"

    assert way(LENET) == "sparse products"
    assert way(LENET, precision="bfloat16") == "fewer units"
    assert way(("vgg-5-2", (3, 8, 8))) == "fewer units"
    assert way(("vgg-5-2-averaged", (3, 8, 8))) == "fewer units"
    assert way(("resnet18", (3, 8, 8))) == "fewer units"
    assert way(("vit", (3, 8, 8))) is None
    for network in (LENET, VGG, ("resnet18", (3, 8, 8))):
        assert way(network, sparsity.dense_masks(build(*network))) is None
    assert way(VGG) is None  # narrower than one multiple


def test_dense_layers_of_single_precision_go_to_onednn():
    if not torch.backends.mkldnn.is_available():
        pytest.skip("this torch was built without oneDNN")
    full, masks = build(*LENET).float(), sparsity.dense_masks(build(*LENET))
    small = faster_products(full, masks, SGD)
    linear = [type(layer) for layer in small.model if hasattr(layer, "weight")]
    assert linear == [kernels.OneDnnLinear, kernels.OneDnnLinear, nn.Linear]
    assert small.step_macs(LENET[1]) == cost.count(copy.deepcopy(full), LENET[1]).step_macs
    x = torch.rand(5, *LENET[1])
    torch.testing.assert_close(small.model(x), full(x))
    small.model.fc1.weight.data.mul_(2)
    small.restore(full)
    torch.testing.assert_close(small.model(x), full(x))


def test_how_dense_a_sparse_product_may_be_depends_on_what_it_competes_with():
    full, masks = build(*LENET).float(), sparsity.dense_masks(build(*LENET))
    masks["fc2.weight"][:, 90:] = False  # 0.3 of 30,000 weights are left
    kinds = []
    for onednn_from in (10_000, 30_001, None):
        kernels_here = replace(KERNELS, onednn_from=onednn_from)
        small = compaction.faster_products(full, masks, kernels_here)
        kinds.append(type(small.model.fc2))
    assert kinds == [kernels.OneDnnLinear, kernels.SparseLinear, kernels.SparseLinear]
    none = Kernels(None, 0.0, 0.0, channels_last=False)
    assert compaction.faster_products(full, masks, none) is None


def test_convolutions_keep_their_memory_layout():
    model = build("vgg-5-2", (3, 8, 8))
    masks = sparse_masks(model, keep=0.001)
    small = fewer_units(model, masks, replace(SGD, channels_last=True))
    weight = small.model.get_submodule("3").weight
    assert weight.shape[:2] == (16, 16)
    assert weight.is_contiguous(memory_format=torch.channels_last)
