"""Equation (1) against the formula written out by hand, in plain numbers."""

import decimal
import math

import pytest
import torch

from sdd.study.settings import Distillation
from sdd.training.distillation import distillation_loss, targets


def softmax(row, tau):
    exps = [math.exp(value / tau) for value in row]
    return [e / sum(exps) for e in exps]


def by_hand(student, teacher, labels, alpha, tau):
    total = 0.0
    for s, t, y in zip(student, teacher, labels, strict=True):
        hard = -math.log(softmax(s, 1)[y])
        p, q = softmax(t, tau), softmax(s, tau)
        soft = sum(pi * math.log(pi / qi) for pi, qi in zip(p, q, strict=True))
        total += (1 - alpha) * hard + alpha * tau**2 * soft
    return total / len(labels)


@pytest.mark.parametrize(("alpha", "tau"), [(0.8, 10.0), (0.5, 1.0), (0.0, 4.0), (1.0, 2.5)])
def test_equals_the_formula(alpha, tau):
    generator = torch.Generator().manual_seed(0)
    student = 3 * torch.randn(6, 5, generator=generator, dtype=torch.float64)
    teacher = 3 * torch.randn(6, 5, generator=generator, dtype=torch.float64)
    labels = torch.tensor([0, 1, 2, 3, 4, 0])
    setting = Distillation(alpha, tau)
    wanted = targets(teacher, labels, setting)
    loss = distillation_loss(student, wanted, setting)
    expected = by_hand(student.tolist(), teacher.tolist(), labels.tolist(), alpha, tau)
    assert loss.item() == pytest.approx(expected, rel=1e-12)


def test_a_student_that_agrees_has_no_divergence_and_no_gradient_from_it():
    logits = torch.randn(4, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    student = logits.clone().requires_grad_()
    setting = Distillation(1, 5)
    wanted = targets(logits, torch.zeros(4, dtype=torch.long), setting)
    loss = distillation_loss(student, wanted, setting)
    loss.backward()
    assert loss.item() == pytest.approx(0, abs=1e-12)
    assert student.grad.abs().max() < 1e-12


def test_temperature_squared_keeps_the_size_of_the_gradient():
    generator = torch.Generator().manual_seed(2)
    teacher, start = torch.randn(2, 64, 10, generator=generator, dtype=torch.float64)
    norms = []
    for tau in (20.0, 40.0):
        student = start.clone().requires_grad_()
        labels = torch.zeros(64, dtype=torch.long)
        setting = Distillation(1.0, tau)
        distillation_loss(student, targets(teacher, labels, setting), setting).backward()
        norms.append(student.grad.norm().item())
    assert norms[0] == pytest.approx(norms[1], rel=0.05)


def test_targets_of_some_samples_are_those_made_from_them():
    generator = torch.Generator().manual_seed(3)
    teacher, labels = torch.randn(9, 4, generator=generator), torch.arange(9) % 4
    setting, index = Distillation(0.7, 3.0), torch.tensor([8, 0, 5, 5])
    some, alone = (
        targets(teacher, labels, setting).at(index),
        targets(teacher[index], labels[index], setting),
    )
    assert torch.equal(some.weight, alone.weight) and torch.equal(some.wanted, alone.wanted)


def test_the_gradient_is_the_formulas():
    generator = torch.Generator().manual_seed(4)
    teacher, start = torch.randn(2, 5, 6, generator=generator, dtype=torch.float64)
    labels, setting = torch.tensor([0, 5, 2, 2, 1]), Distillation(0.8, 4.0)
    student = start.clone().requires_grad_()
    distillation_loss(student, targets(teacher, labels, setting), setting).backward()
    hard = torch.softmax(start, 1) - torch.nn.functional.one_hot(labels, 6)
    soft = torch.softmax(start / 4, 1) - torch.softmax(teacher / 4, 1)
    torch.testing.assert_close(student.grad, (0.2 * hard + 0.8 * 4 * soft) / 5)


@pytest.mark.parametrize("tau", [0.01, 1.0, 10.0, 1e2, 1e3, 1e4])
@pytest.mark.parametrize("close", [False, True], ids=["far", "close"])
def test_single_precision_is_as_accurate_as_the_formula_at_every_temperature(tau, close):
    """Against the divergence in fifty digits: two cross-entropies less each other had none left."""
    generator = torch.Generator().manual_seed(5)
    teacher = 3 * torch.randn(8, 10, generator=generator)
    student = 3 * torch.randn(8, 10, generator=generator)
    if close:  # as a student that has learnt its teacher
        student = teacher + 1e-2 * student
    setting, labels = Distillation(1.0, tau), torch.zeros(8, dtype=torch.long)
    student.requires_grad_()
    loss = distillation_loss(student, targets(teacher, labels, setting), setting)
    loss.backward()
    with decimal.localcontext(prec=50):
        exact, gradient = in_decimals(student.tolist(), teacher.tolist(), tau)
    assert loss.item() == pytest.approx(float(exact), rel=1e-4)
    assert loss.item() >= 0
    expected = torch.tensor([[float(value) for value in row] for row in gradient])
    torch.testing.assert_close(student.grad, expected, rtol=1e-4, atol=1e-4 * expected.abs().max())


def in_decimals(student, teacher, tau):
    """tau^2 KL(teacher || student) and its gradient, means of the batch."""
    number = decimal.Decimal
    total, gradient = number(0), []
    for s, t in zip(student, teacher, strict=True):
        q, p = ([(number(v) / number(tau)).exp() for v in row] for row in (s, t))
        q, p = ([v / sum(row) for v in row] for row in (q, p))
        total += sum(a * (a / b).ln() for a, b in zip(p, q, strict=True)) * number(tau) ** 2
        gradient.append([(b - a) * number(tau) / len(student) for a, b in zip(p, q, strict=True)])
    return total / len(student), gradient
