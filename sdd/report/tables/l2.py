"""Table 1 of the paper: what stronger l2 regularisation does, with and without early stopping."""

from typing import Any

from sdd.analysis.collected import COSTS, best_outcomes, over_seeds, stopped_outcomes, valleys
from sdd.analysis.comparisons import SAME, weight_decays
from sdd.analysis.comparisons import method as how
from sdd.analysis.paper import OPTIMAL, STOPPED, TABLE_1, VANILLA
from sdd.report.deployed import paid_back
from sdd.report.material import Material


def build(material: Material) -> list[dict[str, Any]]:
    rule, rows = material.rule, []
    for group in weight_decays(material.rounds, rule):
        best, stopped = best_outcomes(group.rounds), stopped_outcomes(group.rounds, rule)
        for method, kept, weight_decay in (
            (VANILLA, best, group.base),
            (STOPPED, stopped, group.base),
            (OPTIMAL, stopped, group.weight_decay),
        ):
            seeds = kept[kept.weight_decay == weight_decay]
            chains = group.rounds[group.rounds.weight_decay == weight_decay]
            rows.append(
                {
                    **{name: getattr(group, name) for name in SAME},
                    "early_stop": method != VANILLA,
                    "lambda_opt": method == OPTIMAL,
                    "weight_decay": weight_decay,
                    **over_seeds(seeds, [*COSTS, "test_accuracy", "sparsity"]),
                    **over_seeds(valleys(chains, rule.tolerance), ["depth"]),
                    **paid_back(seeds, material),
                    "n": len(seeds),
                    **TABLE_1.beside(*group[:3], method, how(group)),
                }
            )
    return rows
