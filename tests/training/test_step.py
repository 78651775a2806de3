"""A step as a CUDA graph, on a pretended GPU; whole rounds are in tests/rounds."""

import copy

import pytest
import torch
from pretended_gpu import CUDA, Graph, RefusedByCuda, pretended
from torch import nn
from toy import SGD, problem

from sdd.base.errors import StudyError
from sdd.rounds.network import place_network
from sdd.sparsity.masks import dense_masks
from sdd.training.loop import cross_entropy, train
from sdd.training.samples import Samples
from sdd.training.step import WARM_UP


def test_a_layer_that_is_not_used_is_named():
    """Where it is not used now and then, too: the kernels that step all weights want them all."""
    samples, labels, _ = problem(torch.float32)
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 5))
    model.spare = nn.ModuleDict({"aux": nn.Linear(2, 3)})
    model.forward = lambda x: model[1](model[0](x))
    with pytest.raises(StudyError, match=r"layers that no gradient reaches: spare\.aux\. Every"):
        train(
            model, dense_masks(model), samples, labels, labels, SGD, cross_entropy(labels),
            generator=torch.Generator().manual_seed(2), report=lambda epoch: None,
        )  # fmt: skip


class Norms(nn.Module):
    """Batch norms that are used once, twice, and in another mode; and dropout."""

    def __init__(self, momentum=0.1):
        super().__init__()
        self.once, self.twice, self.frozen = (nn.BatchNorm1d(12, momentum=momentum) for _ in "123")
        self.last = nn.Sequential(nn.Dropout(0.5), nn.Linear(12, 5))

    def forward(self, x):
        x = self.twice(self.twice(self.once(x.flatten(1))))
        return self.last(self.frozen.eval()(x))


def fit(model, captured, objective=cross_entropy):
    """History and state after three epochs of 50 images in batches of 16, the last of two."""
    samples, labels, _ = problem(torch.float32)
    torch.manual_seed(0)
    with pretended():
        placed, there = place_network(copy.deepcopy(model), SGD, CUDA), labels.to(CUDA)
        parts = (x.to(CUDA) for x in (samples.images, samples.mean, samples.std))
        history = train(
            placed, dense_masks(placed), Samples(*parts), there, there, SGD, objective(there),
            generator=torch.Generator().manual_seed(2), report=lambda epoch: None,
            captured=captured,
        )  # fmt: skip
        return history, {name: value.cpu() for name, value in placed.state_dict().items()}


def test_a_captured_training_is_the_same():
    """Small last batches are taken apart, and what Python counts is counted."""
    model = Norms()
    history, state = fit(model, captured=False)
    assert Graph.replays == 0
    again, captured = fit(model, captured=True)
    assert Graph.replays == 3 * 3 - WARM_UP
    assert again == history
    assert state["once.num_batches_tracked"] == 12 and state["twice.num_batches_tracked"] == 24
    for name, value in state.items():
        assert torch.equal(captured[name], value), name


def test_what_waits_for_the_gpu_is_refused_in_a_capture():
    def looks(labels):
        plain = cross_entropy(labels)

        def objective(logits, batch):
            loss = plain(logits, batch)
            assert loss.item() < 1e9
            return loss

        return objective

    fit(Norms(), captured=False, objective=looks)
    with pytest.raises(RefusedByCuda, match="not permitted while a graph is captured"):
        fit(Norms(), captured=True, objective=looks)


def test_a_model_whose_steps_differ_is_not_captured():
    with pytest.raises(ValueError, match="without a momentum of its own cannot be captured"):
        fit(Norms(momentum=None), captured=True)
