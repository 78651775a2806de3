"""What chains that early stopping really ended have cost, beside what whole ones would."""

from typing import Any

from sdd.analysis.collected import SETTING, over_seeds, stopped_outcomes
from sdd.report.material import Material


def build(material: Material) -> list[dict[str, Any]]:
    by_chain = material.rounds.groupby("chain")
    trained = material.rounds.dropna(subset=["test_accuracy"])
    outcome = stopped_outcomes(trained, material.rule)
    whole = by_chain.flops.max() * by_chain["round"].count()  # every round as dear as the dense one
    outcome["saved"] = 100 * (1 - outcome.flops / outcome.chain.map(whole))
    rows = []
    for key, kept in outcome.groupby(SETTING, dropna=False):
        rows.append(
            {
                **dict(zip(SETTING, key, strict=True)),
                "n": len(kept),
                "stopped": int(kept.stopped.sum()),
                **over_seeds(kept, ["last_round", "kept_round", "sparsity", "test_accuracy"]),
                **over_seeds(kept, ["flops", "saved", "total_flops"]),
            }
        )
    return rows
