"""Knowledge distillation: equation (1) of the paper, after Hinton et al. (2015)."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from sdd.study.settings import Distillation

# Softened by a temperature of t, two distributions differ by 1/t and their divergence is 1/t^2 of
# numbers near 1: single precision has lost all of it at 10,000. In double precision ten digits are
# left there, and the few numbers of a batch's logits take no time.
PRECISION = torch.float64


@dataclass(frozen=True)
class Targets:
    """What a student is to answer to each of some samples. Without augmentation it never changes.

    Equation (1) is a sum of weight * (wanted - given) over two rows of logarithms of
    probabilities. Written so, it takes a handful of operations a step, and next to a small model
    each counts.
    """

    weight: Tensor  # [n, 2, classes]: (1 - alpha) at the label; alpha tau^2 the softened teacher
    wanted: Tensor  # [n, 2, classes]: 0, a certain label's; the softened teacher's

    def at(self, index: Tensor) -> "Targets":
        """Those of the samples at `index` [b]."""
        return Targets(self.weight.index_select(0, index), self.wanted.index_select(0, index))


def targets(
    teacher: Tensor, labels: Tensor, setting: Distillation, smoothing: float = 0.0
) -> Targets:
    """From the teacher's logits [n, classes] and the noisy labels [n], a share of them spread."""
    softened = torch.log_softmax(teacher.to(PRECISION) / setting.temperature, dim=1)
    soft = setting.alpha * setting.temperature**2 * softened.exp()
    hard = (1 - setting.alpha) * F.one_hot(labels, teacher.shape[1]).to(PRECISION)
    if smoothing:
        hard = (1 - smoothing) * hard + smoothing * (1 - setting.alpha) / teacher.shape[1]
    return Targets(
        torch.stack([hard, soft], 1), torch.stack([torch.zeros_like(softened), softened], 1)
    )


def distillation_loss(student: Tensor, target: Targets, setting: Distillation) -> Tensor:
    """(1 - alpha) CE(student, labels) + alpha tau^2 KL(teacher || student), the batch's mean.

    `student` are logits [batch, classes]. Both distributions of the divergence are softened by
    tau; tau^2 keeps its gradient's size.
    """
    logits = student.to(PRECISION)
    given = torch.log_softmax(torch.stack([logits, logits / setting.temperature], 1), 2)
    return (target.weight * (target.wanted - given)).sum() / len(student)
