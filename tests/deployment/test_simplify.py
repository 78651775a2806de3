"""A simplified network against the masked one, in float64: the same logits, and never larger."""

import pytest
import torch
from deployable import EACH_MODEL, network, prune
from torch import nn

from sdd.deployment.simplify import simplified, size
from sdd.sparsity import masks as sparsity


def images(channels, pixels):
    generator = torch.Generator().manual_seed(7)
    return torch.randn(16, channels, pixels, pixels, generator=generator, dtype=torch.float64)


@torch.no_grad()
def assert_same(model, small, x):
    assert size(small) <= size(model)
    torch.testing.assert_close(small(x), model(x), rtol=1e-10, atol=1e-10)


@EACH_MODEL
@pytest.mark.parametrize("fraction", [1e-9, 0.5, 0.9, 0.98, 0.995, 0.9999])
def test_the_logits_stay(name, channels, pixels, fraction):
    model = network(name, channels, pixels)
    prune(model, fraction)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    small = simplified(model)
    assert_same(model, small, images(channels, pixels))
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())
    if fraction > 0.99:  # by now there is something to gain in each of them
        assert size(small) < size(model)


@EACH_MODEL
def test_a_layer_without_weights_may_be_any(name, channels, pixels):
    for layer in sparsity.prunable(network(name, channels, pixels)):
        model = network(name, channels, pixels)
        prune(model, 0.8, [layer])
        assert_same(model, simplified(model), images(channels, pixels))


@EACH_MODEL
def test_a_network_without_a_weight_still_answers(name, channels, pixels):
    model = network(name, channels, pixels)
    prune(model, 0.5, list(sparsity.prunable(model)))
    small = simplified(model)
    assert_same(model, small, images(channels, pixels))
    if name == "lenet-300-100":
        assert [tuple(m.weight.shape) for m in (small.fc1, small.fc2, small.fc3)] == [
            (1, 144), (1, 1), (10, 1),
        ]  # fmt: skip


def test_exactly_the_useless_units_of_a_linear_network_go():
    """Three hidden units: one that nobody listens to, one that hears nothing, one of use."""
    model = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 2)).double()
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([[1.0, 2], [0, 0], [3, 4]]))
        model[0].bias.copy_(torch.tensor([1.0, 2, -1]))
        model[2].weight.copy_(torch.tensor([[0.0, 5, 1], [0, 6, 2]]))
        model[2].bias.copy_(torch.tensor([0.5, 0.25]))
    small = simplified(model)
    assert small[0].weight.tolist() == [[3, 4]] and small[2].weight.tolist() == [[1], [2]]
    assert small[2].bias.tolist() == [0.5 + 5 * 2, 0.25 + 6 * 2]


@pytest.mark.parametrize(("bias", "left"), [(1.0, 2), (-1.0, 1)])  # ReLU makes 0 of the latter
def test_behind_a_padded_convolution_only_a_value_of_zero_is_absorbed(bias, left):
    """A constant map is 0 in the padding: what it adds there is not what it adds inside."""
    model = nn.Sequential(
        nn.Conv2d(1, 2, 3, padding=1), nn.ReLU(), nn.Conv2d(2, 1, 3, padding=1)
    ).double()
    with torch.no_grad():
        model[0].weight[1] = 0
        model[0].bias[1] = bias
    small = simplified(model)
    assert len(small[0].weight) == left
    assert_same(model, small, images(1, 6))


def norms(model):
    return sum(isinstance(module, nn.BatchNorm2d) for module in model.modules())


def test_norms_go_where_that_is_exact():
    assert norms(simplified(network("resnet18-4", 3, 16))) == 0
    vgg = network("vgg-2-2", 1, 12)
    assert (norms(vgg), norms(simplified(vgg))) == (4, 4)  # a scale of the last is negative
    with torch.no_grad():
        for module in vgg.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.weight.abs_()
    assert norms(simplified(vgg)) == 3  # the others stand before a convolution that pads
    assert_same(vgg, simplified(vgg), images(1, 12))


def test_a_model_that_is_not_known_stays_as_it_is():
    class Own(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))

        def forward(self, x):
            return self.layers(x) + self.layers[0](x).sum()

    model = Own().eval()
    prune(model, 0.9)
    pairs = zip(model.parameters(), simplified(model).parameters(), strict=True)
    assert all(torch.equal(before, after) for before, after in pairs)
