"""Figure 4's material: the weights of some rounds, at the smallest weight decay and lambda_opt."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd

from sdd import checkpoint, tables
from sdd.files import read_json
from sdd.settings import EarlyStopping


def entries(
    metrics: Iterable[Path], rounds: pd.DataFrame, rule: EarlyStopping
) -> list[tuple[float, float, np.ndarray, int]]:
    """(weight decay, sparsity in percent, kept weights [n], seed) for each round that is shown.

    `metrics` are rounds of one setting's chains at every weight decay, weights beside them.
    """
    found = [(path, read_json(path)) for path in metrics]
    chains = tables.chains(rounds)
    setting = ["dataset", "noise", "model"]
    first = chains[chains.chain == found[0][1]["spec"]["chain"]].iloc[0]
    group = chains[(chains[setting] == first[setting]).all(axis=1) & (chains.teacher == "none")]
    shown = {group.weight_decay.min(), tables.optimal_weight_decay(group, rule)}
    result = []
    for path, facts in found:
        decay = facts["spec"]["recipe"]["weight_decay"]
        if decay in shown and facts["ended"] is None:
            state, masks = checkpoint.load(
                path.with_name("model.safetensors"), facts["weights_sha256"]
            )
            kept = np.concatenate([state[name][mask] for name, mask in masks.items()])
            result.append((decay, facts["sparsity"], kept, facts["spec"]["seed"]))
    return result
