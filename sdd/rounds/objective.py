"""What a round minimises: cross-entropy with its noisy labels, or equation (1) of the paper."""

from collections.abc import Callable

import torch
from torch import Tensor

from sdd.data.facts import DatasetFacts
from sdd.rounds.inputs import Inputs
from sdd.rounds.network import read_network
from sdd.rounds.teacher_logits import read_logits
from sdd.rounds.teachers import read_network_facts
from sdd.study.specs import RoundSpec
from sdd.training.distillation import Targets, distillation_loss, targets
from sdd.training.evaluation import forward
from sdd.training.loop import cross_entropy
from sdd.training.samples import Batch
from sdd.training.step import Objective


def objective_of(
    spec: RoundSpec,
    inputs: Inputs,
    facts: DatasetFacts,
    labels: Tensor,
    log: Callable[[str], None],
) -> tuple[Objective, int]:
    """The objective, and the MACs that its teacher's passes cost.

    Without a teacher cross-entropy, else equation (1): with the teacher's logits, or with the
    frozen teacher in evaluation mode in the loop, which sees what the student sees. `labels` [n]
    are the noisy ones.
    """
    setting, smoothing = spec.distillation, spec.recipe.label_smoothing
    if setting is None:
        return cross_entropy(labels, smoothing), 0

    def towards(wanted: Callable[[Batch], Targets]) -> Objective:
        return lambda logits, batch: distillation_loss(logits, wanted(batch), setting)

    def taught_by(teacher: Callable[[Batch], Tensor]) -> Objective:
        return towards(
            lambda batch: targets(
                teacher(batch), labels.index_select(0, batch.index), setting, smoothing
            )
        )

    augmentation = spec.recipe.augmentation
    if inputs.teacher_logits:
        table = read_logits(
            inputs.teacher_logits, labels.device, images=len(labels), augmentation=augmentation
        )
        if augmentation == "none":
            fixed = targets(table.of_all(), labels, setting, smoothing)
            return towards(lambda batch: fixed.at(batch.index)), 0
        return taught_by(lambda batch: table(batch.index, batch.outcomes)), 0

    log("the teacher is in the loop: a file of its logits would be above largest_table")
    network, _ = read_network(inputs.teacher, facts, labels.device)
    network.eval().requires_grad_(False)
    teacher = read_network_facts(inputs.teacher)

    @torch.no_grad()
    def logits(batch: Batch) -> Tensor:
        return forward(network, batch.inputs, teacher.computes)

    return taught_by(logits), len(labels) * spec.recipe.epochs * teacher.macs.forward_macs
