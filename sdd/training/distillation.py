"""Knowledge distillation: equation (1) of the paper, after Hinton et al. (2015)."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from sdd.study.settings import Distillation


@dataclass(frozen=True)
class Targets:
    """What a student is to answer to each of some samples. Without augmentation it never changes.

    Equation (1) is two cross-entropies with constant targets, less the second target's entropy.
    Written so, it takes a handful of operations a step, and next to a small model each counts.
    """

    wanted: Tensor  # [n, 2, classes]: (1 - alpha) at the label; alpha tau^2 the softened teacher
    entropy: Tensor  # [n], of the softened teacher, times alpha tau^2

    def at(self, index: Tensor) -> "Targets":
        """Those of the samples at `index` [b]."""
        return Targets(self.wanted.index_select(0, index), self.entropy.index_select(0, index))


def targets(teacher: Tensor, labels: Tensor, setting: Distillation) -> Targets:
    """From the teacher's logits [n, classes] and the noisy labels [n]."""
    softened = torch.log_softmax(teacher / setting.temperature, dim=1)
    soft = setting.alpha * setting.temperature**2 * softened.exp()
    hard = (1 - setting.alpha) * F.one_hot(labels, teacher.shape[1]).to(soft.dtype)
    return Targets(torch.stack([hard, soft], 1), -(soft * softened).sum(1))


def distillation_loss(student: Tensor, target: Targets, setting: Distillation) -> Tensor:
    """(1 - alpha) CE(student, labels) + alpha tau^2 KL(teacher || student), the batch's mean.

    `student` are logits [batch, classes]. Both distributions of the divergence are softened by
    tau; tau^2 keeps its gradient's size.
    """
    both = torch.stack([student, student / setting.temperature], 1)
    cross_entropies = (target.wanted * torch.log_softmax(both, 2)).sum() / -len(student)
    return cross_entropies - target.entropy.mean()
