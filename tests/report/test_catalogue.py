"""The catalogue: what is shown for which study, and that everything behind an entry is there."""

import inspect
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from conftest import ROOT

from sdd.base import fingerprint, names
from sdd.report import catalogue
from sdd.report.catalogue import FIGURES, TABLES
from sdd.report.material import Material
from sdd.report.specs import ReportSpec
from sdd.study import data_entries, validation
from sdd.study.reading import merge
from sdd.study.settings import EarlyStopping
from sdd.study.study import Study

ENTRIES = [*TABLES.values(), *FIGURES.values()]


def files(*modules: str) -> set[Path]:
    """The files of code behind these modules."""
    return {module.file for module in fingerprint.reached(*modules)}


def build(config) -> Study:
    checked = validation.validate(config)
    return Study.of(checked, data_entries.survey(checked.datasets))


def shown(config) -> tuple[list[str], list[str]]:
    study = build(config)
    tables, figures = catalogue.shown_tables(study), catalogue.shown_figures(study)
    shown = catalogue.captions(study, str(ROOT / "workflow/report"))
    assert list(shown) == [
        "workflow", *(entry.name for entry in (*tables, *figures)), "report.css",
    ]  # fmt: skip
    return [entry.name for entry in tables], [entry.name for entry in figures]


def test_the_embedded_study_shows_all_but_what_is_of_ended_chains(embedded):
    tables, figures = shown(embedded)
    others = {"early_stopping_savings", "deployment", "figure_methods", "figure_deployment"}
    assert tables == [name for name in TABLES if name not in others]
    assert figures == [name for name in FIGURES if name not in others]


def test_methods_are_compared_where_there_are_several(config):
    config["experiments"] = [config["experiments"][0] | {"criterion": ["magnitude", "random"]}]
    assert "figure_methods" in shown(config)[1]


def test_only_what_can_be_shown_is_promised(config):
    both = config["experiments"][2]
    # A student without a chain of its own to be compared with.
    config["recipes"]["vgg-3-3"] = config["recipes"]["lenet-300-100"]
    config["experiments"] = [config["experiments"][0], both | {"model": "vgg-3-3"}]
    tables, figures = shown(config)
    assert figures == ["figure1_phenomenon", "figure2_occurrence", "figure_diagnostics"]
    assert tables == ["descent", "early_stopping", "claims", "teacher_selection"]
    # Figure 4 needs a setting with several weight decays, not merely the first one.
    plain = config["experiments"][0]
    config["experiments"] = [
        plain | {"noise": {"kind": "symmetric", "rate": [0.2, 0.4]}},
        plain | {"name": "l2", "weight_decay": [0.01]},
    ]
    read = FIGURES["figure4_weights"].weights(build(config))
    assert {c.noise.rate for c, _ in read} == {0.4}
    assert {c.recipe.weight_decay for c, _ in read} == {1e-4, 0.01}
    assert {number for _, number in read} == {0, 3}


def test_chains_that_are_really_ended_have_one_table_and_figures_that_need_no_whole_ones(config):
    config["early_stopping"]["ends_chains"] = True
    assert shown(config) == (
        ["early_stopping_savings"],
        ["figure2_occurrence", "figure_l2_ablation", "figure_diagnostics", "figure5_distillation"],
    )
    config["experiments"] = config["experiments"][:1]
    assert shown(config) == (
        ["early_stopping_savings"], ["figure2_occurrence", "figure_diagnostics"],
    )  # fmt: skip


def test_a_short_chain_has_no_weights_to_show(config):
    config["pruning"]["rounds"] = 2
    assert "figure4_weights" not in shown(config)[1]
    config["pruning"]["rounds"] = 3
    assert "figure4_weights" in shown(config)[1]


@pytest.mark.parametrize("overlay", sorted((ROOT / "workflow" / "studies").glob("*.yaml")))
def test_every_shipped_study_has_something_to_show(embedded, overlay, example, monkeypatch):
    monkeypatch.chdir(example)
    tables, figures = shown(merge(embedded, yaml.safe_load(overlay.read_text("utf-8"))))
    assert tables and figures


def test_specs_hold_what_their_entries_use_and_nothing_more(config):
    def specs(changed):
        study = build(changed)
        return {e.name: catalogue.report_spec(study, e).to_dict() for e in ENTRIES}

    before = specs(config)
    ruled = {name for name, spec in before.items() if "early_stopping" in spec}
    colored = {name for name, spec in before.items() if "palette" in spec}
    assert ruled == {*TABLES, "figure1_phenomenon", "figure3_l2", "figure4_weights"}
    assert colored == set(FIGURES)
    for change, changed in (
        ({"early_stopping": {"patience": 9}}, ruled),
        ({"early_stopping": {"ends_chains": True}}, set()),
        ({"figures": {"palette": "deep"}}, colored),
        ({"seeds": [1, 2, 3], "device": "cpu"}, set()),
    ):
        after = specs(merge(config, change))
        assert {name for name in before if before[name] != after[name]} == changed


def test_a_spec_comes_back_as_it_was():
    rule = EarlyStopping(3, 4.0)
    for spec in (ReportSpec("a", "b:c", "s", rule, "deep", "1"), ReportSpec("a", "b:c")):
        assert ReportSpec.from_dict(spec.to_dict()) == spec
        assert None not in spec.to_dict().values()


def test_the_spec_of_collecting_ignores_what_changes_no_row(config):
    before = catalogue.collect_spec(build(config)).to_dict()
    for change, same in (
        ({"figures": {"palette": "deep"}}, True),
        ({"early_stopping": {"patience": 9}}, True),
        ({"early_stopping": {"ends_chains": True}}, False),
        ({"energy": {"carbon_intensity": 20}}, False),
        ({"seeds": [1, 2, 3]}, False),
    ):
        after = catalogue.collect_spec(build(merge(config, change))).to_dict()
        assert (before == after) == same, change


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.name)
def test_every_builder_exists_with_the_one_signature(entry):
    builder = names.load(entry.builder)
    (parameter,) = inspect.signature(builder).parameters.values()
    assert parameter.name == "material" and parameter.annotation is Material
    assert builder.__module__ == names.module(entry.builder)


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.name)
def test_every_entry_has_a_caption(entry):
    assert (ROOT / "workflow" / "report" / f"{entry.name}.rst").read_text("utf-8").strip()


def test_every_caption_and_every_builder_has_an_entry():
    captions = {path.stem for path in (ROOT / "workflow" / "report").glob("*.rst")}
    assert captions == {"workflow", *(entry.name for entry in ENTRIES)}
    for kind, entries in (("tables", TABLES), ("figures", FIGURES)):
        modules = {p.stem for p in (ROOT / "sdd" / "report" / kind).glob("[!_]*.py")}
        assert modules == {names.module(e.builder).rpartition(".")[2] for e in entries.values()}
        assert len(modules) == len(entries)


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.name)
def test_a_builder_is_code_of_its_own_table_or_figure_only(entry):
    """So that editing it redraws nothing else: neither a stage nor another builder imports it."""
    module = names.module(entry.builder)
    file = fingerprint.PACKAGE.parent / f"{module.replace('.', '/')}.py"
    assert file in files(module)
    for other in ENTRIES:
        its = [other.stage] if other is entry else [other.stage, names.module(other.builder)]
        assert file not in files(*its)


def test_neither_the_catalogue_nor_the_config_is_code_of_a_table_or_figure():
    """A new entry draws nothing but itself; a new key of the config draws nothing at all."""
    for entry in ENTRIES:
        read = {
            file.relative_to(fingerprint.PACKAGE).as_posix()
            for file in files(entry.stage, names.module(entry.builder))
        }
        assert not read & {"report/catalogue.py", "study/study.py", "study/config.py"}


def test_importing_it_imports_nothing_that_computes():
    code = "import sdd.report.catalogue, sys; print(*sys.modules)"
    loaded = subprocess.check_output([sys.executable, "-c", code], cwd=ROOT, text=True).split()
    assert not {"torch", "pandas", "numpy", "matplotlib", "seaborn"} & set(loaded)


def test_no_list_of_names_stands_anywhere_else():
    """Rules and plans read the catalogue."""
    files = [*(ROOT / "workflow" / "rules").glob("*.smk"), ROOT / "Snakefile"]
    files += [*(ROOT / "sdd" / "planning").glob("*.py"), *(ROOT / "sdd" / "study").glob("*.py")]
    for file in files:
        text = file.read_text("utf-8")
        assert not [
            e.name for e in ENTRIES if e.name.startswith(("figure", "table")) and e.name in text
        ]
