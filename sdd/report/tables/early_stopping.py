"""What a chain costs and keeps under several rules of early stopping, also the study's own."""

from typing import Any

from sdd.analysis.collected import SETTING, best_outcomes, over_seeds, stopped_outcomes
from sdd.report.material import Material
from sdd.study.settings import EarlyStopping

PATIENCES, TOLERANCES = (1, 3, 5), (0.0, 1.0, 2.0)


def build(material: Material) -> list[dict[str, Any]]:
    own = (material.rule.patience, float(material.rule.tolerance))
    grid = sorted({(patience, t) for patience in PATIENCES for t in TOLERANCES} | {own})
    rows = []
    for key, group in material.rounds.groupby(SETTING, dropna=False):
        whole = best_outcomes(group).flops
        for patience, tolerance in grid:
            kept = stopped_outcomes(group, EarlyStopping(patience, tolerance))
            kept["cost_share"] = 100 * kept.flops / whole
            rows.append(
                {
                    **dict(zip(SETTING, key, strict=True)),
                    "patience": patience,
                    "tolerance": tolerance,
                    "own_rule": (patience, tolerance) == own,
                    "n": len(kept),
                    "stopped": int(kept.stopped.sum()),
                    **over_seeds(kept, ["last_round", "kept_round", "sparsity", "test_accuracy"]),
                    **over_seeds(kept, ["flops", "cost_share"]),
                }
            )
    return rows
