"""A problem small enough to be computed by hand, in double precision."""

import torch

from sdd.sparsity.criteria import Evidence, magnitude
from sdd.study.settings import Recipe
from sdd.training.samples import Samples

SGD = Recipe("sgd", 0.1, 1e-3, 16, 3, "multistep", momentum=0.9, milestones=(2,))
ADAMW = Recipe("adamw", 1e-2, 0.1, 16, 3, "cosine")


def problem(dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(50, 1, 3, 4, generator=generator, dtype=dtype)
    labels = torch.randint(5, (50,), generator=generator)
    true = torch.randint(5, (50,), generator=generator)
    one = torch.ones(1, 1, 1, dtype=dtype)
    return Samples(images, 0 * one, one), labels, true


def by_magnitude(weights):
    """The scores of some weights; magnitude looks at nothing else."""
    return magnitude(Evidence(weights, {}, dict, torch.Generator()))
