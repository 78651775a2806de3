"""The training loop against an independent plain PyTorch loop, and what it promises."""

import math
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from toy import ADAMW, SGD, by_magnitude, problem

from sdd.base.errors import Divergence
from sdd.data.facts import DatasetFacts
from sdd.sparsity import masks as sparsity
from sdd.study.settings import Pruning, Recipe
from sdd.training.evaluation import predict, score
from sdd.training.loop import cross_entropy, train
from sdd.training.samples import Samples


def network(dtype=torch.float64):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        return nn.Sequential(nn.Flatten(), nn.Linear(12, 8), nn.ReLU(), nn.Linear(8, 5)).to(dtype)


def fit(recipe, masks=None, dtype=torch.float64, seed=2):
    samples, labels, true = problem(dtype)
    model, epochs = network(dtype), []
    masks = masks or sparsity.dense_masks(model)
    sparsity.apply(sparsity.prunable(model), masks)
    train(
        model, masks, samples, labels, true, recipe, cross_entropy(labels, recipe.label_smoothing),
        generator=torch.Generator().manual_seed(seed), report=epochs.append,
    )  # fmt: skip
    return model, epochs


def half_masks():
    model = network()
    return sparsity.prune(
        by_magnitude(sparsity.prunable(model)), sparsity.dense_masks(model), Pruning(0.5)
    )


def plain_loop(recipe, masks):
    """The textbook: torch's own schedulers, and weights zeroed again after each step."""
    samples, labels, _ = problem()
    model = network()
    weights = sparsity.prunable(model)
    sparsity.apply(weights, masks)
    if recipe.optimizer == "sgd":
        optimizer = torch.optim.SGD(
            model.parameters(), recipe.learning_rate, recipe.momentum,
            weight_decay=recipe.weight_decay, foreach=False, nesterov=recipe.nesterov,
        )  # fmt: skip
        scheduler = torch.optim.lr_scheduler.MultiStepLR(optimizer, recipe.milestones)
    else:
        optimizer = torch.optim.AdamW(
            model.parameters(),
            recipe.learning_rate,
            weight_decay=recipe.weight_decay,
            foreach=False,
        )
        scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, recipe.epochs)
    generator = torch.Generator().manual_seed(2)
    for _ in range(recipe.epochs):
        order = torch.randperm(50, generator=generator)
        for start in range(0, 50, 16):
            index = order[start : start + 16]
            optimizer.zero_grad()
            logits, smoothing = model(samples.images[index]), recipe.label_smoothing
            F.cross_entropy(logits, labels[index], label_smoothing=smoothing).backward()
            optimizer.step()
            sparsity.apply(weights, masks)
        scheduler.step()
    return model


VARIANTS = {
    "sgd": SGD,
    "adamw": ADAMW,
    "nesterov": replace(SGD, nesterov=True),
    "label smoothing": replace(SGD, label_smoothing=0.3),
}


@pytest.mark.parametrize("recipe", VARIANTS.values(), ids=VARIANTS)
@pytest.mark.parametrize("pruned", [False, True])
def test_equals_a_plain_loop(recipe, pruned):
    masks = half_masks() if pruned else sparsity.dense_masks(network())
    model, _ = fit(recipe, masks)
    for ours, theirs in zip(
        model.state_dict().values(), plain_loop(recipe, masks).state_dict().values(), strict=True
    ):
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("recipe", [SGD, ADAMW], ids=["sgd", "adamw"])
def test_pruned_weights_stay_exactly_zero(recipe):
    masks = half_masks()
    model, _ = fit(recipe, masks)
    for name, weight in sparsity.prunable(model).items():
        assert (weight[~masks[name]] == 0).all()
        assert (weight[masks[name]] != 0).all()


def test_the_same_seed_gives_the_same_bits_and_another_does_not():
    first, again, other = (fit(SGD, dtype=torch.float32, seed=s)[0] for s in (2, 2, 3))
    bits = [
        torch.cat([p.detach().flatten() for p in m.parameters()]) for m in (first, again, other)
    ]
    assert torch.equal(bits[0], bits[1])
    assert not torch.equal(bits[0], bits[2])


def test_reports_every_epoch_with_its_learning_rate():
    _, epochs = fit(SGD)
    assert [e.epoch for e in epochs] == [0, 1, 2]
    assert [e.learning_rate for e in epochs] == pytest.approx([0.1, 0.1, 0.01])
    assert all(0 <= e.accuracy <= 100 and math.isfinite(e.loss) for e in epochs)


@pytest.mark.parametrize("schedule", ["multistep", "cosine", "constant"])
def test_the_learning_rate_rises_evenly_in_warm_up_and_then_is_the_schedules(schedule):
    plain = replace(SGD, schedule=schedule, epochs=8, milestones=(5,))
    warm = replace(plain, warmup=3)
    rates = [(warm.learning_rate_at(e), plain.learning_rate_at(e)) for e in range(8)]
    assert [rate / usual for rate, usual in rates[:3]] == pytest.approx([1 / 4, 2 / 4, 3 / 4])
    assert all(rate == usual for rate, usual in rates[3:])


def test_divergence_names_epoch_and_learning_rate():
    with pytest.raises(Divergence, match=r"loss is nan in epoch \d at learning rate 1e\+30"):
        fit(Recipe("sgd", 1e30, 0.0, 16, 3, "constant"), dtype=torch.float32)


def blamed(recipe=SGD, objective=cross_entropy, model=None, samples=None, masks=None):
    """What a training that diverges says was the first that is not finite."""
    given, labels, true = problem(torch.float32)
    model = model or network(torch.float32)
    masks = masks or sparsity.dense_masks(model)
    sparsity.apply(sparsity.prunable(model), masks)
    with pytest.raises(Divergence) as raised:
        train(
            model, masks, samples or given, labels, true, recipe, objective(labels),
            generator=torch.Generator().manual_seed(2), report=lambda epoch: None,
        )  # fmt: skip
    assert "What may help, in the model's recipe: a lower learning_rate than" in str(raised.value)
    return str(raised.value)


def test_images_that_are_no_numbers_are_not_blamed_on_the_learning_rate():
    samples, *_ = problem(torch.float32)
    samples.images[7, 0, 1, 2] = math.inf
    assert re.search(
        r"not finite: the images in step \d.*look at the data", blamed(samples=samples)
    )


def test_a_step_too_long_is_told_by_the_loss_that_grew():
    said = blamed(Recipe("sgd", 1e15, 1e-3, 16, 3, "constant", momentum=0.9))
    assert re.search(r"step \d \(the loss was 1\.\d+ in step 1, \d\.\d+e\+\d+ in step \d", said)
    assert "a lower weight_decay than 0.001, less momentum than 0.9; or another optimizer." in said


def nth(number, then):
    """Cross-entropy, but in its step of that number, from 1, what `then` makes of logits."""

    def objective(labels):
        plain, steps = cross_entropy(labels), iter(range(1, 10**6))

        def loss(logits, batch):
            # The epoch is taken again, so a step comes again after as many as are in an epoch.
            return then(logits) if (next(steps) - 1) % 4 + 1 == number else plain(logits, batch)

        return loss

    return objective


def test_a_loss_that_is_none_although_the_network_answers_numbers():
    said = blamed(objective=nth(2, lambda logits: logits.sum() * math.nan))
    assert "the loss is nan in epoch 0 at learning rate 0.1." in said
    assert re.search(r"the loss in step 2 .*of outputs that are, \d.*teacher", said)


def test_a_gradient_that_is_none_names_its_layer():
    # The square root of 0 has an infinite slope, and its loss is a number.
    said = blamed(objective=nth(3, lambda logits: (logits - logits.detach()).abs().sqrt().sum()))
    assert "the gradient of 3.bias in step 3" in said


@pytest.mark.parametrize("pruned", [False, True])
def test_a_gradient_that_is_none_in_the_very_last_step_is_a_divergence(pruned):
    said = blamed(
        Recipe("sgd", 0.1, 1e-3, 16, 1, "constant"),
        nth(4, lambda logits: (logits - logits.detach()).abs().sqrt().sum()),
        masks=half_masks() if pruned else None,
    )
    assert "in epoch 0" in said and "the gradient of 3.bias in step 4" in said


def test_an_output_that_is_none_names_its_layer():
    class Logarithm(nn.Module):
        def forward(self, x):
            return x.sign().log()

    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 8), Logarithm(), nn.Linear(8, 5))
    assert "the output of 2 in step 1." in blamed(model=model)


def test_weights_that_are_none_from_the_start_are_named():
    model = network(torch.float32)
    with torch.no_grad():
        model[1].weight[0, 0] = math.nan
    assert "1.weight, which the epoch starts from" in blamed(model=model)


def test_a_buffer_that_is_infinite_by_design_is_no_divergence():
    model = network()
    model.register_buffer("mask", torch.tensor([0.0, -math.inf]))
    samples, labels, true = problem()
    train(
        model, sparsity.dense_masks(model), samples, labels, true, SGD, cross_entropy(labels),
        generator=torch.Generator().manual_seed(2), report=lambda epoch: None,
    )  # fmt: skip


def test_score_by_hand():
    logits = torch.tensor([[2.0, 0.0], [0.0, 1.0], [3.0, 0.0]])
    labels = torch.tensor([0, 0, 1])
    found = score(logits, labels)
    losses = [math.log(1 + math.exp(-2)), math.log(1 + math.exp(1)), math.log(1 + math.exp(3))]
    assert found.accuracy == pytest.approx(100 / 3)
    assert found.loss == pytest.approx(sum(losses) / 3)


def test_normalising_once_or_a_batch_at_a_time_is_the_same():
    pixels = np.random.default_rng(0).integers(256, size=(9, 3, 4, 4), dtype=np.uint8)
    index = np.array([7, 0, 3, 3])
    facts = DatasetFacts("x", "", 10, (3, 4, 4), 9, 0, (0.5, 0.4, 0.3), (0.2, 0.3, 0.4), {}, 0, "")
    cpu = torch.device("cpu")
    once = Samples.place(pixels, index, facts, device=cpu, normalised=True)
    later = Samples.place(pixels, index, facts, device=cpu, normalised=False)
    assert len(once) == len(later) == 4
    assert once.images.is_floating_point() and later.images.dtype == torch.uint8
    # The pixels themselves, not a copy of them.
    assert np.shares_memory(later.images.numpy(), pixels)
    chosen = torch.tensor([2, 1])
    assert torch.equal(once.take(chosen), later.normalise(later.take(chosen)))
    assert torch.equal(torch.cat(list(once.batches())), later.normalise(*later.batches()))
    expected = (torch.from_numpy(pixels[index, 1]).double() / 255 - 0.4) / 0.3
    torch.testing.assert_close(once.images[:, 1].double(), expected, rtol=1e-6, atol=1e-6)


def test_prediction_is_in_evaluation_mode_and_in_order():
    samples, _, _ = problem()
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 5), nn.Dropout(0.5)).double()
    recipe = Recipe("sgd", 0.1, 0, 16, 1, "constant")
    expected = model[1](samples.images.flatten(1))
    torch.testing.assert_close(predict(model, samples, recipe), expected)
