"""What a chain costs and keeps under several rules of early stopping, also the study's own."""

from typing import Any

from sdd.analysis.collected import SETTING, best_outcomes, over_seeds, stopped_outcomes
from sdd.report.material import Material
from sdd.study.settings import EarlyStopping

PATIENCES = (1, 3, 5)
# What a rule may look at, and how far that may fall below its best so far: points, and bits.
TOLERANCES = {"validation_accuracy": (0.0, 1.0, 2.0), "entropy": (0.0, 0.01, 0.02)}


def build(material: Material) -> list[dict[str, Any]]:
    own = ("validation_accuracy", material.rule.patience, float(material.rule.tolerance))
    grid = sorted(
        {(by, p, t) for by, some in TOLERANCES.items() for p in PATIENCES for t in some} | {own},
        key=lambda rule: (rule[0] != own[0], *rule),
    )
    rows = []
    for key, group in material.rounds.groupby(SETTING, dropna=False):
        whole = best_outcomes(group).flops
        for rule in grid:
            by, patience, tolerance = rule
            if not _measured(group, by):
                continue
            kept = stopped_outcomes(group, EarlyStopping(patience, tolerance), by)
            kept["cost_share"] = 100 * kept.flops / whole
            rows.append(
                {
                    **dict(zip(SETTING, key, strict=True)),
                    "looks_at": by.replace("_", " "),
                    "patience": patience,
                    "tolerance": tolerance,
                    "own_rule": rule == own,
                    "n": len(kept),
                    "stopped": int(kept.stopped.sum()),
                    **over_seeds(kept, ["last_round", "kept_round", "sparsity", "test_accuracy"]),
                    **over_seeds(kept, ["flops", "cost_share"]),
                }
            )
    return rows


def _measured(rounds: Any, by: str) -> bool:
    """Whether every chain has values of that: rounds from before it was measured have none."""
    return by in rounds and bool(rounds[by].notna().groupby(rounds.chain).any().all())
