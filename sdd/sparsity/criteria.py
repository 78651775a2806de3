"""What ranks weights for pruning: each criterion is a function weights -> scores.

`weights` are the prunable ones by name. Scores have the names and shapes of the weights; where two
weights compete, the one with the lower score is pruned first. Criteria are named in
`sdd.study.methods`.
"""

from collections.abc import Callable, Mapping

from torch import Tensor

from sdd.sparsity.masks import Scores

Criterion = Callable[[Mapping[str, Tensor]], Scores]


def magnitude(weights: Mapping[str, Tensor]) -> Scores:
    """The absolute value (algorithm 1 of the paper, line 4)."""
    return {name: weight.detach().abs() for name, weight in weights.items()}
