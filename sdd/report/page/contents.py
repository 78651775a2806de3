"""What the page holds of a study, as JSON: columns of values, a row a round of every chain.

A study of the paper's size has thousands of rounds and a million epochs. So texts that come back
are kept once (`_coded`), and learning curves are thinned out.
"""

import csv
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from sdd.analysis.collected import (
    METHOD,
    SETTING,
    at_smallest_weight_decay,
    chains,
    curve,
    read,
    spent,
)
from sdd.analysis.descent import phases, valley
from sdd.analysis.intervals import quantile
from sdd.analysis.paper import Method, read_off
from sdd.base.errors import DataError
from sdd.base.files import canonical
from sdd.base.layout import Layout, root
from sdd.report.naming import noise_name, truth_known
from sdd.report.specs import PageSpec
from sdd.study.metrics import Epoch, RoundMetrics, read_metrics

# Those that a teacher's logits have too, so that a teacher's share can be told.
COSTS = ["flops", "seconds", "energy_kwh", "co2_g"]
MOST_EXACT = 2**53  # a seed above it is no number to a browser
MOST_EPOCHS = 100_000  # of all rounds together; more make the page slow

Values = dict[str, Any]


def build(spec: PageSpec, rounds: Path, first: Path, tables: Sequence[Path]) -> Values:
    """Of `rounds`, which is rounds.csv, the metrics of its rounds, and the study's tables.

    `first` is the metrics of any round; the others lie beside it as in any study. Raises DataError,
    naming the file, where one is missing or of another round.
    """
    collected = read(rounds)
    shared = collected.groupby("chain").experiment.agg(lambda names: ", ".join(pd.unique(names)))
    frame = chains(collected)
    frame["experiment"] = frame.chain.map(shared)
    metrics = _metrics(frame, first)
    recorded = list(collected.columns)
    frame["setting"] = frame.groupby(SETTING, dropna=False, sort=False).ngroup()
    costs = spent(frame, COSTS)
    if frame.seed.max() > MOST_EXACT:
        frame["seed"] = frame.seed.astype(str)
    return {
        "study": str(frame.study.iloc[0]),
        "recorded": recorded,
        "identity": SETTING,
        "costs": COSTS,
        "columns": {name: _column(values) for name, values in (frame.join(costs)).items()},
        "opens_on": _deepest(frame),
        "settings": _settings(frame, spec.early_stopping.tolerance),
        # Of intervals over 2 seeds, 3, and so on.
        "quantiles": [quantile(n) for n in range(2, frame.seed.nunique() + 1)],
        "tolerance": spec.early_stopping.tolerance,
        "epochs": _epochs(metrics),
        "weights": [one.weights and [*vars(one.weights).values()] for one in metrics],
        "origin": _origin(metrics, frame),
        "tables": [_table(path) for path in tables],
    }


def _metrics(frame: pd.DataFrame, first: Path) -> list[RoundMetrics]:
    """Of every row, in their order."""
    one = read_metrics(first)
    layout = Layout(str(frame.study.iloc[0]))
    folder = root(first, layout.round(one.spec.chain, one.round).facts)
    found = []
    lie = frame.chain.where(frame["round"] > 0, frame.dense_chain)
    for chain, number in zip(lie, frame["round"], strict=True):
        path = folder / layout.round(chain, int(number)).facts
        metrics = read_metrics(path)
        if (metrics.spec.chain, metrics.round) != (chain, number):
            raise DataError(
                f"{path} is of another training: round {metrics.round} of {metrics.spec.chain}. "
                "Delete it and run snakemake again."
            )
        found.append(metrics)
    return found


def _column(values: pd.Series) -> Values:
    """Numbers as they are, texts coded; what is not there is null."""
    if pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values):
        return {"numbers": [None if pd.isna(value) else value for value in values.tolist()]}
    return _coded(None if pd.isna(value) else value for value in values)


def _coded(values: Iterable[Any]) -> Values:
    """Each different value once, and for every row which of them it has."""
    place: dict[str, int] = {}
    codes = [place.setdefault(canonical(value), len(place)) for value in values]
    return {"values": [json.loads(text) for text in place], "codes": codes}


def _settings(frame: pd.DataFrame, tolerance: float) -> list[Values]:
    """What is known of each setting as a whole, in the order of their numbers."""
    published = set(at_smallest_weight_decay(frame).setting)
    settings = []
    for number, rounds in frame.groupby("setting"):
        first = rounds.iloc[0]
        same = first.dataset, first.noise, first.model, Method(*first[METHOD])
        points = read_off(*same) if number in published else ()
        settings.append(
            {
                **{name: None if pd.isna(first[name]) else first[name] for name in SETTING},
                "noise_title": noise_name(first.noise, truth_known=truth_known(rounds)),
                "phases": _phases(rounds, tolerance),
                "published": [{"source": source, "points": some} for source, some in points],
            }
        )
    return [{name: _plain(value) for name, value in setting.items()} for setting in settings]


def _deepest(frame: pd.DataFrame) -> int:
    """The setting whose mean curve has the deepest valley: what there is to be explored."""
    depths = (
        frame.dropna(subset=["test_accuracy"])
        .groupby("setting")[["round", "sparsity", "test_accuracy"]]
        .apply(lambda rounds: valley(curve(rounds, "test_accuracy")["mean"]).depth)
    )
    return int(depths.idxmax())


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def _phases(rounds: pd.DataFrame, tolerance: float) -> list[Values]:
    """The four phases of a setting's mean curves, as figure 1 has them: first and last round."""
    known = rounds.dropna(subset=["test_accuracy", "train_accuracy"])
    if known.empty:
        return []
    test, train = (curve(known, f"{kind}_accuracy")["mean"] for kind in ("test", "train"))
    at = test.index
    return [
        {"name": name, "first": int(at[stretch.start]), "last": int(at[stretch.stop - 1])}
        for name, stretch in vars(phases(test, train, tolerance)).items()
        if stretch
    ]


def _epochs(metrics: Sequence[RoundMetrics]) -> Values:
    """Learning curves: for every row a list for each field of an epoch, four digits each.

    Of a large study every so-manieth epoch and the last one of each round.
    """
    every = -(-sum(len(one.history) for one in metrics) // MOST_EPOCHS) or 1
    fields = list(Epoch.__annotations__)
    curves = []
    for one in metrics:
        last = len(one.history) - 1
        shown = [e for e in one.history if e.epoch % every == 0 or e.epoch == last]
        curves.append([[_short(getattr(epoch, name)) for epoch in shown] for name in fields])
    return {"every": every, "fields": fields, "curves": curves}


def _short(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.4g}")


def _origin(metrics: Sequence[RoundMetrics], frame: pd.DataFrame) -> Values:
    """Where and how each round came to be, beside what rounds.csv says."""
    specs = []
    for one in metrics:
        spec = one.spec.to_dict()
        del spec["round"]
        specs.append(spec)
    layout = Layout(str(frame.study.iloc[0]))
    return {
        "results": f"{layout.results}/chains",
        "spec": _coded(specs),
        "versions": _coded(one.versions for one in metrics),
        "energy": _coded(
            {"power_w": one.energy.power_w, "pue": one.energy.pue, "reason": one.energy.reason,
             "carbon_intensity": one.energy.carbon_intensity}
            for one in metrics
        ),
        "threads": _coded(one.threads for one in metrics),
        "runs": _coded(one.runs for one in metrics),
        "weights_sha256": [one.weights_sha256 for one in metrics],
    }  # fmt: skip


def _table(path: Path) -> Values:
    with path.open(encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file)
    return {"name": path.stem, "header": header, "rows": rows}
