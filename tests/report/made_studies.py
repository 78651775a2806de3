"""Pages of studies that nobody trained: rounds.csv, metrics and tables as a study leaves them."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import synthetic
import toy
from builders import build

from sdd.analysis import collected
from sdd.base.layout import Layout
from sdd.report import table_writer
from sdd.report.page import contents, document
from sdd.report.specs import PageSpec
from sdd.sparsity.histogram import histogram
from sdd.study.metrics import Epoch, RoundMetrics, write_metrics
from sdd.study.settings import EarlyStopping, Pruning
from sdd.study.specs import RoundSpec

RULE = EarlyStopping(2, 4.0)
EPOCHS = 5


@dataclass(frozen=True)
class Made:
    """A study's files, and what is known of them without reading them back."""

    folder: Path
    rounds: pd.DataFrame  # as they were written
    metrics: dict[tuple[str, int], RoundMetrics]
    weights: dict[tuple[str, int], np.ndarray]  # that each round has kept
    tables: tuple[Path, ...] = ()

    @property
    def layout(self) -> Layout:
        return Layout(self.rounds.study[0])

    @property
    def first(self) -> Path:
        return self.folder / self.layout.round(self.rounds.chain[0], 0).facts

    @property
    def page(self) -> Path:
        return self.folder / "index.html"

    def contents(self) -> dict:
        csv = self.folder / self.layout.rounds
        return contents.build(PageSpec(RULE), csv, self.first, self.tables)


def study(folder: Path, rounds: pd.DataFrame, names: tuple[str, ...] = ()) -> Made:
    """Writes the files of a study with these rounds, its tables of these `names`, and its page."""
    made = Made(folder, rounds, {}, {})
    collected.write(folder / made.layout.rounds, rounds)
    for row in rounds.drop_duplicates(["chain", "round"]).itertuples():
        key = row.chain, row.round
        made.metrics[key], made.weights[key] = _metrics(row)
        write_metrics(folder / made.layout.round(*key).facts, made.metrics[key])
    for name in names:
        stem = folder / made.layout.table(name).removesuffix(".csv")
        table_writer.write(build(name, rounds, RULE), stem)
    made = replace(made, tables=tuple(folder / made.layout.table(name) for name in names))
    document.write(made.page, made.contents())
    return made


def _metrics(row) -> tuple[RoundMetrics, np.ndarray]:
    rng = np.random.default_rng([row.round, len(row.chain), row.seed])
    kept = rng.normal(0, 0.02 * 1.2**row.round, 50 + row.weights_kept // 100).astype(np.float32)
    pruned = row.round > 0
    spec = RoundSpec(
        row.chain, row.round, row.model, toy.SGD, row.seed,
        pruning=Pruning(0.2) if pruned else None,
        retraining="learning-rate-rewinding" if pruned else None,
    )  # fmt: skip
    history = tuple(
        Epoch(epoch, 0.1, 2.0 / (1 + epoch + row.round), 50.0 + 3 * epoch, 40.0 + epoch)
        for epoch in range(EPOCHS)
    )
    bins = histogram({"weight": kept}, {"weight": np.ones(kept.shape, bool)})
    return synthetic.metrics(spec, history=history, weights=bins), kept
