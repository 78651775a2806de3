"""Every table and figure: its name, its builder, when a study has something to show, what it uses.

A new one is an entry here, a module with its builder, and a caption in workflow/report/<name>.rst.
Builders take a `sdd.report.material.Material`; a table's returns rows, a figure's a Figure. Rules
and plans read this, so it imports nothing that computes.
"""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from sdd.analysis.specs import CollectSpec
from sdd.base import fingerprint, names
from sdd.base.files import canonical, sha256
from sdd.deployment.jobs import deploys
from sdd.report.page import files
from sdd.report.specs import HtmlReportSpec, PageSpec, ReportSpec
from sdd.study.chains import Chain
from sdd.study.methods import OUTSIDE
from sdd.study.study import Study

# --- What there is to show ------------------------------------------------------------------------


def always(study: Study) -> bool:
    return True


def has_ended_chains(study: Study) -> bool:
    return study.early_stopping_ends_chains


def has_plain(study: Study) -> bool:
    """Whether some chain has no teacher."""
    return bool(_plain(study))


def has_weight_decays(study: Study) -> bool:
    """Whether some setting without a teacher is trained with several weight decays."""
    return bool(_with_weight_decays(study))


def has_students(study: Study) -> bool:
    """Whether some student is also trained on its own, so that there is a comparison."""
    alone = {_alone(chain) for chain in _plain(study)}
    return any(chain.teacher and _alone(chain) in alone for chain in study.chains.values())


def has_teachers(study: Study) -> bool:
    """Whether some teacher is a round of this study."""
    return len(study.teachers) > sum(t.which == OUTSIDE for t in study.teachers.values())


def has_methods(study: Study) -> bool:
    """Whether some setting without a teacher is pruned and retrained in several ways."""
    ways: dict[tuple[object, ...], set[object]] = {}
    for chain in _plain(study):
        key = (chain.data, chain.noise, chain.model, chain.seed)
        ways.setdefault(key, set()).add((chain.pruning, chain.retraining))
    return any(len(some) > 1 for some in ways.values())


def has_comparisons(study: Study) -> bool:
    return has_weight_decays(study) or has_students(study)


def _alone(chain: Chain) -> tuple[object, ...]:
    """What a student shares with itself without a teacher."""
    method = chain.pruning, chain.retraining
    return chain.data, chain.noise, chain.model, chain.recipe, method, chain.seed


def _plain(study: Study) -> list[Chain]:
    return [chain for chain in study.chains.values() if chain.teacher is None]


def _with_weight_decays(study: Study) -> list[list[Chain]]:
    """The chains of each setting without a teacher that is trained with several weight decays."""
    settings: dict[tuple[object, ...], list[Chain]] = {}
    for chain in _plain(study):
        method = chain.pruning, chain.retraining
        key = (chain.data, chain.noise, chain.model, method, chain.seed)
        settings.setdefault(key, []).append(chain)
    return [chains for chains in settings.values() if len(chains) > 1]


# Figure 4 of the paper: at a sparsity of 48.8 %, three prunings of 20 %.
HISTOGRAM_ROUND = 3


def has_histograms(study: Study) -> bool:
    return has_weight_decays(study) and HISTOGRAM_ROUND in study.rounds


def histogram_rounds(study: Study) -> list[tuple[Chain, int]]:
    """Two rounds of each chain of the first setting with several weight decays."""
    settings = _with_weight_decays(study)
    chains = settings[0] if settings else []
    return [(chain, number) for chain in chains for number in (0, HISTOGRAM_ROUND)]


# --- Entries --------------------------------------------------------------------------------------

Weights = list[tuple[Chain, int]]  # rounds, whose weights a builder reads


def _no_weights(study: Study) -> Weights:
    return []


@dataclass(frozen=True)
class Entry:
    """A table or a figure."""

    stage: ClassVar[str]

    name: str
    builder: str  # "module:function"
    shows: Callable[[Study], bool]
    uses: tuple[str, ...]  # which parts of the config, of those that a ReportSpec may hold
    whole_chains: bool = True  # whether it needs chains that early stopping did not end
    weights: Callable[[Study], Weights] = _no_weights
    deployed: bool = False  # whether it shows deployed models too, where a study has any

    def shown(self, study: Study) -> bool:
        whole = not study.early_stopping_ends_chains
        return (whole or not self.whole_chains) and self.shows(study)


class Table(Entry):
    stage = "sdd.stages.table"


class Figure(Entry):
    stage = "sdd.stages.figure"


def _by_name(*entries: Entry) -> dict[str, Entry]:
    return {entry.name: entry for entry in entries}


STYLE = "report.css"  # of Snakemake's report
RULE, LOOK = ("early_stopping",), ("palette",)

TABLES = _by_name(
    Table("descent", "sdd.report.tables.descent:build", always, RULE),
    Table("early_stopping", "sdd.report.tables.early_stopping:build", always, RULE),
    Table("table1_l2", "sdd.report.tables.l2:build", has_weight_decays, RULE, deployed=True),
    Table(
        "table2_distillation", "sdd.report.tables.distillation:build",
        has_students, RULE, deployed=True,
    ),
    Table("claims", "sdd.report.tables.claims:build", has_plain, RULE),
    Table("comparisons", "sdd.report.tables.comparisons:build", has_comparisons, RULE),
    Table(
        "teacher_selection", "sdd.report.tables.teacher_selection:build", has_teachers, RULE
    ),
    Table(
        "early_stopping_savings", "sdd.report.tables.early_stopping_savings:build",
        has_ended_chains, RULE, whole_chains=False,
    ),
    Table(
        "deployment", "sdd.report.tables.deployment:build",
        deploys, RULE, whole_chains=False, deployed=True,
    ),
)  # fmt: skip
FIGURES = _by_name(
    Figure("figure1_phenomenon", "sdd.report.figures.phenomenon:draw", has_plain, RULE + LOOK),
    Figure(
        "figure2_occurrence", "sdd.report.figures.occurrence:draw",
        has_plain, LOOK, whole_chains=False,
    ),
    Figure("figure3_l2", "sdd.report.figures.l2:draw", has_weight_decays, RULE + LOOK),
    Figure(
        "figure_l2_ablation", "sdd.report.figures.l2_ablation:draw",
        has_weight_decays, LOOK, whole_chains=False,
    ),
    Figure(
        "figure4_weights", "sdd.report.figures.weights:draw",
        has_histograms, RULE + LOOK, weights=histogram_rounds,
    ),
    Figure(
        "figure_methods", "sdd.report.figures.methods:draw",
        has_methods, LOOK, whole_chains=False,
    ),
    Figure(
        "figure_diagnostics", "sdd.report.figures.diagnostics:draw",
        has_plain, LOOK, whole_chains=False,
    ),
    Figure(
        "figure5_distillation", "sdd.report.figures.distillation:draw",
        has_students, LOOK, whole_chains=False,
    ),
    Figure(
        "figure_deployment", "sdd.report.figures.deployment:draw",
        deploys, LOOK, whole_chains=False, deployed=True,
    ),
)  # fmt: skip


def shown_tables(study: Study) -> list[Entry]:
    """The tables that this study has something to show for."""
    return list(_shown(study, TABLES))


def shown_figures(study: Study) -> list[Entry]:
    """The figures that this study has something to show for."""
    return list(_shown(study, FIGURES))


def captions(study: Study, folder: str) -> dict[str, str]:
    """The sha256 of each caption in `folder` that the study's report shows, and of its style, by
    name.

    Texts instead of paths, since Snakemake takes braces in an input's path for wildcards.
    """
    shown = ("workflow", *(e.name for e in (*shown_tables(study), *shown_figures(study))))
    captions = {name: sha256(Path(folder, f"{name}.rst")) for name in shown}
    return captions | {STYLE: sha256(Path(folder, STYLE))}


def _shown(study: Study, entries: dict[str, Entry]) -> Iterator[Entry]:
    return (entry for entry in entries.values() if entry.shown(study))


# --- The specs of jobs, with the code that each runs ----------------------------------------------


def report_spec(study: Study, entry: Entry) -> ReportSpec:
    config = study.config
    parts = {"early_stopping": config.early_stopping.rule, "palette": config.figures.palette}
    code = fingerprint.code(entry.stage, names.module(entry.builder))
    used: dict[str, Any] = {part: parts[part] for part in entry.uses}
    return ReportSpec(entry.name, entry.builder, study.name, **used, code=code)


def html_report_spec(study: Study, folder: str) -> HtmlReportSpec:
    """Of the report that shows everything, with the captions in that `folder`."""
    config = canonical(study.lasting_config)
    return HtmlReportSpec(
        hashlib.sha256(config.encode()).hexdigest(),
        captions(study, folder),
        fingerprint.code("sdd.stages.html_report"),
    )


def page_spec(study: Study) -> PageSpec:
    rule, code = study.config.early_stopping.rule, fingerprint.code("sdd.stages.page")
    return PageSpec(rule, files.identity(), code)


def collect_spec(study: Study) -> CollectSpec:
    return CollectSpec(
        study.chain_config,
        study.config.energy.carbon_intensity,
        study.own_datasets,
        fingerprint.code("sdd.stages.collect_rounds"),
    )
