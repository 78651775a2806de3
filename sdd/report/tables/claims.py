"""What the paper claims, whether it holds here, and what the paper has."""

from typing import Any

from sdd.analysis.claims import ask
from sdd.analysis.comparisons import SAME, TEACHING
from sdd.report.material import Material

SETTING = (*SAME, "weight_decay", "lambda_opt", *TEACHING)


def build(material: Material) -> list[dict[str, Any]]:
    rows = []
    for claim in ask(material.rounds, material.rule):
        setting = {**claim.setting, "lambda_opt": claim.lambda_opt}
        low, high = claim.interval
        rows.append(
            {
                "claim": claim.sentence,
                **{name: setting.get(name) for name in SETTING},
                "unit": claim.unit,
                "ours_mean": claim.mean,
                "ours_low": low,
                "ours_high": high,
                "n": len(claim.values),
                "seeds_for": claim.seeds_for,
                "holds": claim.holds,
                "paper": claim.said.number,
                "paper_claims": claim.said.words,
                "paper_setting": claim.said.setting,
            }
        )
    return rows
