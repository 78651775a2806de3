"""What the page holds and how it is written; how it behaves is in test_page_in_a_browser.py."""

import json
import re
from dataclasses import replace

import made_studies
import pandas as pd
import pytest
import synthetic
from conftest import ROOT
from docutils.core import publish_parts

from sdd.analysis.collected import outcomes, spent
from sdd.analysis.descent import Choice
from sdd.analysis.paper import Method, read_off
from sdd.base.errors import DataError
from sdd.report import catalogue, opening
from sdd.report.page import contents, document, files
from sdd.report.specs import PageSpec
from sdd.study import validation
from sdd.study.metrics import write_metrics
from sdd.study.reading import merge
from sdd.study.settings import EarlyStopping
from sdd.study.study import Study

REWOUND = Method(retraining="weight-rewinding")  # as He et al. do


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> made_studies.Made:
    return made_studies.study(
        tmp_path_factory.mktemp("page"), synthetic.tiny(), ("claims", "descent")
    )


def values(column: dict) -> list:
    return column.get("numbers") or [column["values"][code] for code in column["codes"]]


def test_it_holds_every_round_once_with_every_number(made):
    held = made.contents()
    once = made.rounds.drop_duplicates(["chain", "round"])
    frame = pd.DataFrame({name: values(held["columns"][name]) for name in held["recorded"]})
    assert held["recorded"] == list(made.rounds)
    assert len(frame) == len(once)
    merged = frame.merge(once, on=["chain", "round"], suffixes=("", "_written"))
    for name in set(made.rounds) - {"chain", "round", "experiment"}:
        ours, written = (merged[n].astype(object) for n in (name, f"{name}_written"))
        assert ours.isna().equals(written.isna())
        assert (ours == written)[ours.notna()].all(), name
    shared = made.rounds.groupby("chain").experiment.agg(lambda e: ", ".join(dict.fromkeys(e)))
    assert (frame.experiment == frame.chain.map(shared)).all()


def test_learning_curves_and_weights_are_those_of_the_metrics(made):
    held = made.contents()
    keys = zip(*(values(held["columns"][name]) for name in ("chain", "round")), strict=True)
    for key, curves, weights in zip(keys, held["epochs"]["curves"], held["weights"], strict=True):
        metrics = made.metrics[key]
        for name, curve in zip(held["epochs"]["fields"], curves, strict=True):
            assert curve == pytest.approx([getattr(e, name) for e in metrics.history], rel=1e-3)
        reach, counts, beyond = weights
        assert (reach, tuple(counts), beyond) == tuple(vars(metrics.weights).values())


def test_of_many_epochs_some_are_kept_and_the_last_one_of_each_round(made, monkeypatch):
    monkeypatch.setattr(contents, "MOST_EPOCHS", len(made.metrics) * 2)
    held = made.contents()["epochs"]
    assert held["every"] == 3
    assert all(curve[0] == [0, 3, 4] for curve in held["curves"])


def test_a_missing_round_and_one_of_another_training_are_named(tmp_path):
    made = made_studies.study(tmp_path, synthetic.tiny())
    path = tmp_path / made.layout.round(made.rounds.chain[0], 2).facts
    path.unlink()
    with pytest.raises(DataError, match=r"round02.*is missing"):
        made.contents()
    write_metrics(path, made.metrics[made.rounds.chain[0], 3])
    with pytest.raises(DataError, match="of another training: round 3"):
        made.contents()


def test_a_seed_keeps_every_digit(tmp_path):
    rounds = synthetic.tiny()
    held = made_studies.study(tmp_path, rounds.assign(seed=2**63 - 3 + rounds.seed)).contents()
    assert set(values(held["columns"]["seed"])) == {str(2**63 - 2), str(2**63 - 1)}


def test_what_old_metrics_do_not_have_is_left_out(tmp_path):
    made = made_studies.study(tmp_path, synthetic.tiny())
    path = tmp_path / made.layout.round(made.rounds.chain[0], 0).facts
    write_metrics(path, replace(made.metrics[made.rounds.chain[0], 0], weights=None))
    assert made.contents()["weights"].count(None) == 1


def test_spent_is_what_a_chain_has_cost_that_ends_there():
    rounds = synthetic.study().drop_duplicates(["chain", "round"]).reset_index(drop=True)
    added = rounds.join(spent(rounds, ["flops", "co2_g"]))
    for last in (0, 5, 28):
        ended = outcomes(rounds, lambda _, last=last: Choice(last, last, False)).set_index("chain")
        there = added[added["round"] == last].set_index("chain")
        for cost in ("flops", "co2_g"):
            for ours, theirs in (("spent", ""), ("total_spent", "total_")):
                pd.testing.assert_series_equal(
                    there[f"{ours}_{cost}"], ended[f"{theirs}{cost}"].reindex(there.index),
                    check_names=False, check_dtype=False,
                )  # fmt: skip


def test_published_points_stand_only_where_they_are_of_the_same_thing(tmp_path):
    held = made_studies.study(tmp_path, synthetic.study(seeds=(1,))).contents()
    marked = [s for s in held["settings"] if s["published"]]
    assert [(s["dataset"], s["noise"], s["model"], s["teacher"]) for s in marked] == [
        ("cifar10", "symmetric-all-0.2", "resnet18", "none")
    ]
    (known,) = read_off("cifar10", "symmetric-all-0.2", "resnet18", REWOUND)
    assert [(one["source"], one["points"]) for one in marked[0]["published"]] == [known]


def test_the_same_study_gives_the_same_page(made):
    assert document.document(made.contents()) == made.page.read_text("utf-8")


def test_nothing_that_a_study_says_becomes_markup(tmp_path):
    hostile = '</script><script>alert("1")</script><!--'
    rounds = synthetic.tiny().assign(device=hostile)
    page = made_studies.study(tmp_path, rounds).page.read_text("utf-8")
    block = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    assert "<" not in block[1]
    assert json.loads(block[1])["columns"]["device"]["values"] == [hostile]
    assert page.count("<script") == page.count("</script>") == 3
    named = document.document(json.loads(block[1]) | {"study": "<b>&"})
    assert "<title>&lt;b&gt;&amp;:" in named


def test_the_report_opens_with_every_claim_and_takes_its_words_literally(made):
    claims = next(t for t in made.contents()["tables"] if t["name"] == "claims")
    said = opening.text([claims])
    assert said.count("\n- ") == min(len(claims["rows"]), opening.MOST)
    row = dict.fromkeys(claims["header"], "") | {"claim": "`x <javascript:1>`_ |a| *b*", "n": "2"}
    literal = opening.text([{"name": "claims", "header": list(row), "rows": [list(row.values())]}])
    assert r"\`x \<javascript\:1\>\`\_ \|a\| \*b\*" in literal
    body = publish_parts(literal, writer="html")["html_body"]
    assert "`x &lt;javascript:1&gt;`_ |a| *b*" in body and body.count("<a ") == 1
    assert "index.html" in opening.text([])


def test_the_spec_counts_code_scripts_styles_and_the_tolerance(config, tmp_path, monkeypatch):
    def spec(changed) -> PageSpec:
        return catalogue.page_spec(Study.of(validation.validate(changed)))

    before = spec(config)
    assert PageSpec.from_dict(before.to_dict()) == before
    assert spec(merge(config, {"figures": {"palette": "deep"}, "seeds": [1, 2, 3]})) == before
    assert spec(merge(config, {"early_stopping": {"tolerance": 3}})) != before
    for name in (files.DOCUMENT, files.STYLE, *files.SCRIPTS):
        (tmp_path / name).write_text(files.read(name), "utf-8")
    monkeypatch.setattr(files, "FOLDER", tmp_path)
    files.identity.cache_clear()
    assert spec(config) == before
    for name in (files.DOCUMENT, files.STYLE, files.SCRIPTS[-1]):
        (tmp_path / name).write_text(files.read(name) + "\n", "utf-8")
        files.identity.cache_clear()
        assert spec(config) != before
        before = spec(config)
    monkeypatch.undo()
    files.identity.cache_clear()


def test_every_file_of_the_page_is_used_and_shipped():
    folder = ROOT / "sdd" / "report" / "page"
    there = {path.name for path in folder.iterdir() if path.suffix in (".html", ".css", ".js")}
    assert there == {files.DOCUMENT, files.STYLE, *files.SCRIPTS}
    assert (
        '"sdd.report.page" = ["*.html", "*.css", "*.js"]' in (ROOT / "pyproject.toml").read_text()
    )


def test_a_tolerance_is_in_the_spec_that_a_job_gets():
    assert PageSpec(EarlyStopping(3, 4.0)).to_dict()["early_stopping"]["tolerance"] == 4.0
