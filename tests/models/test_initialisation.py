"""What first weights are drawn from, and that the default draws nothing."""

import math

import pytest
import torch
from torch import nn

from sdd.base.errors import StudyError
from sdd.base.names import load
from sdd.models.build import build, seeded
from sdd.models.initialisation import default, kaiming_normal
from sdd.study.methods import INITIALISATIONS


def drawn(name, initialisation, seed=1):
    model = build(name, channels=3, size=32, classes=10, seed=seed)
    with seeded(seed):
        initialisation(model)
    return model


def state(model):
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def test_every_name_has_its_function():
    assert all(callable(load(function)) for function in INITIALISATIONS.values())


@pytest.mark.parametrize("name", ["lenet-300-100", "vgg-2-2", "resnet18"])
def test_the_default_changes_no_bit_and_draws_nothing(name):
    model = build(name, channels=3, size=32, classes=10, seed=1)
    before, random = state(model), torch.get_rng_state()
    default(model)
    assert torch.equal(torch.get_rng_state(), random)
    for key, value in model.state_dict().items():
        assert torch.equal(value, before[key])


def test_kaiming_draws_convolutions_by_their_outputs_and_leaves_the_rest():
    plain, model = drawn("resnet18", default), drawn("resnet18", kaiming_normal)
    rest = state(plain)
    for name, layer in model.named_modules():
        if not isinstance(layer, nn.Conv2d):
            continue
        rest.pop(f"{name}.weight")
        # Written out: the variance is 2 / (outputs * pixels of the kernel).
        deviation = math.sqrt(2 / (layer.out_channels * math.prod(layer.kernel_size)))
        count = layer.weight.numel()
        assert layer.weight.std().item() == pytest.approx(deviation, rel=4 / math.sqrt(2 * count))
        assert layer.weight.mean().item() == pytest.approx(0, abs=4 * deviation / math.sqrt(count))
        if count > 50_000:  # a normal distribution has tails, which torch's uniform one has not
            beyond = (layer.weight.abs() > 2 * deviation).double().mean().item()
            assert beyond == pytest.approx(0.0455, abs=0.004)
    for key, value in rest.items():
        assert torch.equal(model.state_dict()[key], value), key


def test_kaiming_draws_the_same_from_the_same_seed_and_other_weights_from_another():
    one, again, other = (state(drawn("vgg-2-2", kaiming_normal, seed)) for seed in (1, 1, 2))
    assert all(torch.equal(one[key], again[key]) for key in one)
    assert not torch.equal(one["0.weight"], other["0.weight"])


def test_kaiming_without_a_convolution_is_refused():
    with pytest.raises(StudyError, match=r"initialisation: kaiming-normal .* Take default"):
        drawn("lenet-300-100", kaiming_normal)
