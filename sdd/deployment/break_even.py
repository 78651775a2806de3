"""After how many answers a smaller network has paid back the energy of its training."""

import math

import pandas as pd

from sdd.analysis.collected import spent


def break_even(kept: pd.DataFrame, rounds: pd.DataFrame, deployments: pd.DataFrame) -> float:
    """Images, over the chains in `kept`: of each its `kept_round`, and the `last_round` trained.

    Everything trained until then counts, the teacher's training and logits too. What an answer
    saves is the dense network's energy less the deployed one's, both in onnxruntime: the runtime is
    no merit of pruning. A network that executes as many MACs as the dense one saves nothing.

    Infinite where nothing is saved: where the lowest turn of metering, a mean over the chains, is
    not above 0. NaN where something was not measured, or not deployed.
    """
    bills = rounds[["chain", "round", "macs"]].join(spent(rounds, ["energy_kwh"]))
    bills = bills.set_index(["chain", "round"])
    billed = bills.reindex(list(zip(kept.chain, kept.last_round, strict=True)))
    small = deployments[
        (deployments.network == "deployed") & (deployments.runtime == "onnxruntime")
    ]
    deployed = small.drop_duplicates(["chain", "round"]).set_index(["chain", "round"])
    deployed = deployed.reindex(list(zip(kept.chain, kept.kept_round, strict=True)))
    trained_kwh = billed.total_spent_energy_kwh.mean(skipna=False)
    smaller = deployed.macs.to_numpy() < billed.macs.to_numpy()
    saved_kwh, lowest = (
        deployed[column].where(smaller | deployed[column].isna(), 0).mean(skipna=False)
        for column in ("saved_kwh_1000", "saved_kwh_1000_low")
    )
    if pd.isna(trained_kwh) or pd.isna(saved_kwh):
        return math.nan
    return 1000 * trained_kwh / saved_kwh if lowest > 0 else math.inf
