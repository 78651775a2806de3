"""Which rounds of a chain are deployed. Looks at validation data only. Imports no torch."""

import math
from collections.abc import Sequence

from sdd.analysis.descent import best_round, stop_early
from sdd.deployment.specs import DeploySpec
from sdd.study.settings import EarlyStopping

RULED = {"sparsest", "stopped"}  # which of them depend on the rule of early stopping


def chosen(spec: DeploySpec, validation: Sequence[float]) -> dict[int, tuple[str, ...]]:
    """The rounds that `spec` asks for, by their numbers, each with what it is to its chain.

    `validation` holds the accuracies of all rounds of the chain; NaN for one that was not trained.
    """
    found: dict[int, tuple[str, ...]] = {}
    for which in spec.rounds:
        number = select(which, validation, spec.early_stopping)
        found[number] = (*found.get(number, ()), which)
    return found


def select(which: str, validation: Sequence[float], rule: EarlyStopping | None) -> int:
    """The number of the dense round, of the best (ties to the sparser one), of what early stopping
    keeps, or of the sparsest within its tolerance of the best."""
    if which == "dense":
        return 0
    if which == "best":
        return best_round(validation).kept
    if rule is None:
        raise ValueError(f"{which}: it depends on the rule of early stopping")
    if which == "stopped":
        return stop_early(validation, rule).kept
    enough = max(a for a in validation if math.isfinite(a)) - rule.tolerance
    return max(number for number, accuracy in enumerate(validation) if accuracy >= enough)
