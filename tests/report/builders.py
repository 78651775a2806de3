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


def build(name: str, rounds: pd.DataFrame, rule: EarlyStopping) -> pd.DataFrame:
    rows = names.load(TABLES[name].builder)(_material(TABLES[name], rounds, rule))
    return table_writer.frame(name, rows)


def draw(
    name: str,
    rounds: pd.DataFrame,
    rule: EarlyStopping,
    palette: str = "colorblind",
    weights: tuple[Path, ...] = (),
) -> Figure:
    material = _material(FIGURES[name], rounds, rule, palette, weights)
    return figure_writer.drawn(names.load(FIGURES[name].builder), material)


def _material(
    entry: Entry,
    rounds: pd.DataFrame,
    rule: EarlyStopping,
    palette: str | None = None,
    weights: tuple[Path, ...] = (),
) -> Material:
    """Only what the entry says that its builder uses."""
    parts = {"early_stopping": rule, "palette": palette}
    return Material(chains(rounds), **{part: parts[part] for part in entry.uses}, weights=weights)
