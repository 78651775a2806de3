"""A model of the user's own, by its import path: what it must be, and what is said if it is not."""

import sys

import pytest
import torch
from torch import nn

from sdd.base.errors import StudyError
from sdd.models.build import build, try_training
from sdd.study import validation
from sdd.study.study import Study

GOOD = """
import torch
from torch import nn

def net(channels, size, classes):
    return nn.Sequential(
        nn.Conv2d(channels, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Dropout(0.5),
        nn.Linear(4 * (size - 2) ** 2, classes),
    )

def none(channels, size, classes):
    return "a model"

def nothing_to_prune(channels, size, classes):
    return nn.Flatten()

def other_shape(channels, size, classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(channels * size * size, classes + 1))

def fails(channels, size, classes):
    raise RuntimeError("no such width")

def fails_on_images(channels, size, classes):
    return nn.Linear(7, classes)

class Spare(nn.Sequential):
    def __init__(self, size, classes, **spare):
        super().__init__(nn.Flatten(), nn.Linear(size ** 2, classes))
        self.spare = nn.ModuleDict(spare)

    def forward(self, x):
        return self[1](self[0](x))

def with_spare_layers(channels, size, classes):
    return Spare(size, classes, aux=nn.Linear(3, 4), norm=nn.BatchNorm2d(2))

def frozen(channels, size, classes):
    model = Spare(size, classes)
    model[1].bias.requires_grad_(False)
    return model

class Two(Spare):
    def forward(self, x):
        logits = super().forward(x)
        return (logits, logits) if self.training else logits

def two_in_training(channels, size, classes):
    return Two(size, classes)
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    (tmp_path / "my_models.py").write_text(GOOD)
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    sys.modules.pop("my_models", None)


def own(function: str, seed: int = 1) -> nn.Module:
    return build("my-net", channels=1, size=8, classes=5, seed=seed, own=f"my_models:{function}")


def test_its_weights_come_from_the_seed_and_looking_at_it_changes_nothing(folder):
    state = torch.get_rng_state()
    first, again, other = own("net"), own("net"), own("net", seed=2)
    assert torch.equal(torch.get_rng_state(), state)
    for name, tensor in first.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name])
    assert not torch.equal(first[0].weight, other[0].weight)
    assert first.training and not first[1].num_batches_tracked


@pytest.mark.parametrize(
    ("function", "words"),
    [
        ("none", "returns a str, not a torch module"),
        ("nothing_to_prune", "has no linear or convolution layer, so nothing can be pruned"),
        ("other_shape", r"gives \[2, 6\] for two images, not logits \[2, 5\]"),
        ("fails", r"fails: RuntimeError: no such width \(my_models.py, line \d+\)"),
        ("fails_on_images", r"fails on images \[2, 1, 8, 8\]: RuntimeError"),
    ],
)
def test_what_is_no_model_is_refused_with_what_it_must_be(folder, function, words):
    with pytest.raises(StudyError, match=rf"models.my-net: my_models:{function} {words}") as told:
        own(function)
    assert "takes (channels, size, classes)" in str(told.value)


@pytest.mark.parametrize(
    ("function", "words"),
    [
        ("with_spare_layers", "has layers that no gradient reaches: spare.aux, spare.norm. Every"),
        ("frozen", "has layers that no gradient reaches: 1. Every parameter is trained: its"),
        ("two_in_training", r"gives tuple for two images, in training, not logits \[2, 5\]"),
    ],
)
def test_what_cannot_be_trained_is_refused_before_it_is(folder, function, words):
    def tried(function):
        try_training(own(function), "my-net", f"my_models:{function}", (1, 8, 8), 5)

    tried("net")
    with pytest.raises(StudyError, match=rf"models.my-net: my_models:{function} {words}"):
        tried(function)


def with_model(config, name="my-net", function="my_models:net"):
    config["models"] = {name: {"build": function}}
    config["recipes"][name] = config["recipes"]["lenet-300-100"]
    config["experiments"] = [config["experiments"][0] | {"model": name}]
    return Study.of(validation.validate(config))


def test_a_study_with_it_has_its_name_in_paths_and_its_code_in_specs(folder, config):
    study = with_model(config)
    (chain, *_) = study.chains.values()
    assert "/my-net/" in chain.path and chain.builder == "my_models"
    spec = study.round_spec(chain, 1)
    assert spec.build == "my_models:net"
    assert spec.to_dict()["build"] == "my_models:net"
    again = Study.of(validation.validate(study.config.to_dict()))
    assert again.chains == study.chains


@pytest.mark.parametrize(
    ("name", "function", "words"),
    [
        ("vit", "my_models:net", "models.vit: there is a model vit already"),
        ("My/Net", "my_models:net", "models.My/Net: a model's name has lower case"),
        ("my-net", "my_modells:net", "models.my-net.build: there is no module my_modells beside"),
        ("my-net", "my_models:nett", "there is no nett in the module my_models"),
        ("my-net", "my_models", r"models.my-net.build: 'my_models' is not allowed. Where its"),
    ],
)
def test_a_model_that_cannot_be_is_refused_before_any_job(folder, config, name, function, words):
    with pytest.raises(StudyError, match=words):
        with_model(config, name, function)


def test_an_unknown_model_lists_the_own_ones_too(folder, config):
    config["models"] = {"my-net": {"build": "my_models:net"}}
    config["experiments"][0]["model"] = "my-nett"
    with pytest.raises(StudyError, match=r"'my-nett' is not the name of a model.*own are: my-net"):
        validation.validate(config)
