"""Where every setting has its valley and its peak, and how far each of the four phases goes."""

from typing import Any

import pandas as pd

from sdd.analysis.collected import PLACE, SETTING, curve, over_seeds, valleys
from sdd.analysis.descent import interpolation_threshold, phases, valley
from sdd.report.material import Material


def build(material: Material) -> list[dict[str, Any]]:
    tolerance, rows = material.rule.tolerance, []
    for key, group in material.rounds.groupby(SETTING, dropna=False):
        facts = valleys(group, tolerance)
        with_valley = facts[facts.exists]
        mean = pd.DataFrame(
            {c: curve(group, c)["mean"] for c in ("test_accuracy", "train_accuracy")}
        )
        sparsity = group.groupby("round").sparsity.mean()
        found = phases(mean.test_accuracy, mean.train_accuracy, tolerance)
        threshold = interpolation_threshold(mean.train_accuracy, tolerance)
        rows.append(
            {
                **dict(zip(SETTING, key, strict=True)),
                "n": len(facts),
                "valleys": len(with_valley),
                **over_seeds(facts, ["dense_accuracy", "depth"]),
                "mean_curve_depth": valley(mean.test_accuracy).depth,
                **over_seeds(with_valley, [f"valley_{x}" for x in PLACE]),
                **over_seeds(with_valley, [f"peak_{x}" for x in PLACE]),
                **over_seeds(facts, ["final_accuracy"]),
                "interpolates_to": float("nan") if threshold is None else sparsity[threshold],
                **{
                    f"{name}_to": sparsity[stretch[-1]] if stretch else float("nan")
                    for name, stretch in vars(found).items()
                },
            }
        )
    return rows
