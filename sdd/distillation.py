"""Knowledge distillation: equation (1) of the paper, after Hinton et al. (2015)."""

import torch
import torch.nn.functional as F
from torch import Tensor

from sdd.settings import Distillation


def distillation_loss(
    student: Tensor, teacher: Tensor, labels: Tensor, setting: Distillation
) -> Tensor:
    """(1 - alpha) CE(student, labels) + alpha tau^2 KL(teacher || student), the batch's mean.

    `student` and `teacher` are logits [batch, classes]; `labels` [batch] are the noisy ones. Both
    distributions of the divergence are softened by tau; tau^2 keeps its gradient's size.
    """
    tau = setting.temperature
    divergence = F.kl_div(
        torch.log_softmax(student / tau, dim=1),
        torch.log_softmax(teacher / tau, dim=1),
        reduction="batchmean",
        log_target=True,
    )
    return (1 - setting.alpha) * F.cross_entropy(student, labels) + setting.alpha * tau**2 * (
        divergence
    )
