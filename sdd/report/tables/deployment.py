"""What deployed rounds are worth: every network in its runtime, against the dense one in torch."""

from typing import Any

import pandas as pd

from sdd.analysis.collected import SETTING, over_seeds
from sdd.analysis.descent import stop_early
from sdd.deployment.facts import BATCHES
from sdd.machine.reading import JOULES_PER_KWH
from sdd.report.deployed import of_settings, paid_back
from sdd.report.material import Material
from sdd.study.settings import EarlyStopping

MEANS = [
    "deployed_round", "sparsity", "accuracy", "agreement", "size", "macs", "bytes",
    "compressed_bytes", "peak_bytes", "energy_j_1000", "co2_mg_1000", "smaller",
]  # fmt: skip
# With the spread over the turns of one measurement, which is no interval over seeds.
RATIOS = ["load_speedup", *(f"batch{batch}_speedup" for batch in BATCHES), "frugality"]


def build(material: Material) -> list[dict[str, Any]]:
    deployed = of_settings(material).rename(columns={"round": "deployed_round"})
    # Of 1,000 images, in units of that size.
    deployed["energy_j_1000"] = deployed.energy_kwh_1000 * JOULES_PER_KWH
    deployed["co2_mg_1000"] = deployed.co2_g_1000 * 1000
    key = [*SETTING, "which", "network", "runtime"]
    rows = []
    for values, seeds in deployed.groupby(key, dropna=False, sort=False):
        row: dict[str, Any] = dict(zip(key, values, strict=True))
        row |= over_seeds(seeds, MEANS)
        for ratio in RATIOS:
            row[ratio] = seeds[ratio].mean(skipna=False)
            for end in ("low", "high"):
                row[f"{ratio}_turns_{end}"] = seeds[f"{ratio}_{end}"].mean(skipna=False)
        if row["network"] == "deployed":
            row |= paid_back(_kept(seeds, row["which"], material), material)
        rows.append(row | {"n": len(seeds)})
    return rows


def _kept(seeds: pd.DataFrame, which: str, material: Material) -> pd.DataFrame:
    """As outcomes of a rule have it: which round is kept, and which was the last one trained."""
    by_chain = material.rounds.groupby("chain").validation_accuracy
    lasts = [
        _last(which, by_chain.get_group(chain).to_list(), material.rule) for chain in seeds.chain
    ]
    return seeds[["chain"]].assign(kept_round=seeds.deployed_round, last_round=lasts)


def _last(which: str, validation: list[float], rule: EarlyStopping) -> int:
    """Up to which round a chain has to be trained to know it: only a whole one has a best."""
    if which == "dense":
        return 0
    if which == "stopped":
        return stop_early(validation, rule).last
    return max(number for number, accuracy in enumerate(validation) if not pd.isna(accuracy))
