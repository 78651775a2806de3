"""What tables and figures say of deployed models."""

import pandas as pd

from sdd.analysis.collected import SETTING
from sdd.deployment.break_even import break_even
from sdd.report.material import Material


def of_settings(material: Material) -> pd.DataFrame:
    """Each deployed model with the setting of its chain."""
    if material.deployments is None:
        raise ValueError("there are no deployed models: deployment.rounds is empty")
    settings = material.rounds.drop_duplicates("chain")[[*SETTING, "seed", "chain"]]
    return settings.merge(material.deployments.drop(columns="study"), on="chain")


def paid_back(kept: pd.DataFrame, material: Material) -> dict[str, float]:
    """After how many images the rounds in `kept` (see `sdd.analysis.collected.outcomes`) have paid
    back their training; no column where the study deploys nothing."""
    if material.deployments is None:
        return {}
    return {"break_even_images": break_even(kept, material.rounds, material.deployments)}
