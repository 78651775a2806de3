"""Equation (1) against the formula written out by hand, in plain numbers."""

import math

import pytest
import torch

from sdd.distillation import distillation_loss
from sdd.settings import Distillation


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
    loss = distillation_loss(student, teacher, labels, Distillation(alpha, tau))
    expected = by_hand(student.tolist(), teacher.tolist(), labels.tolist(), alpha, tau)
    assert loss.item() == pytest.approx(expected, rel=1e-12)


def test_a_student_that_agrees_has_no_divergence_and_no_gradient_from_it():
    logits = torch.randn(4, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    student = logits.clone().requires_grad_()
    loss = distillation_loss(student, logits, torch.zeros(4, dtype=torch.long), Distillation(1, 5))
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
        distillation_loss(student, teacher, labels, Distillation(1.0, tau)).backward()
        norms.append(student.grad.norm().item())
    assert norms[0] == pytest.approx(norms[1], rel=0.05)
