"""Tables and figures by name, made from rounds in memory: what the stages do, without files."""

from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from sdd.analysis.collected import chains
from sdd.base import names
from sdd.report import figure_writer, table_writer
from sdd.report.catalogue import FIGURES, TABLES, Entry
from sdd.report.material import Material
from sdd.study.settings import EarlyStopping


def build(
    name: str, rounds: pd.DataFrame, rule: EarlyStopping, deployments: pd.DataFrame | None = None
) -> pd.DataFrame:
    material = _material(TABLES[name], rounds, rule, deployments=deployments)
    rows = names.load(TABLES[name].builder)(material)
    return table_writer.frame(name, rows)


def draw(
    name: str,
    rounds: pd.DataFrame,
    rule: EarlyStopping,
    palette: str = "colorblind",
    weights: tuple[Path, ...] = (),
    deployments: pd.DataFrame | None = None,
) -> Figure:
    material = _material(FIGURES[name], rounds, rule, palette, weights, deployments)
    return figure_writer.drawn(names.load(FIGURES[name].builder), material)


def _material(
    entry: Entry,
    rounds: pd.DataFrame,
    rule: EarlyStopping,
    palette: str | None = None,
    weights: tuple[Path, ...] = (),
    deployments: pd.DataFrame | None = None,
) -> Material:
    """Only what the entry says that its builder uses."""
    parts = {"early_stopping": rule, "palette": palette}
    used = {part: parts[part] for part in entry.uses}
    deployed = deployments if entry.deployed else None
    return Material(chains(rounds), **used, weights=weights, deployments=deployed)
