"""Two runs of one study: whether they come to the same claims, and the command that says so."""

import json
import subprocess
import sys

import pandas as pd
import pytest
from conftest import ROOT
from synthetic import tiny

from sdd.analysis import collected
from sdd.analysis.agreement import Pair, compare
from sdd.analysis.claims import Claim, ask
from sdd.analysis.paper import Said
from sdd.study.settings import EarlyStopping

RULE = EarlyStopping(patience=2, tolerance=1.0)


def claim(*values: float, sentence: str = "it is more") -> Claim:
    """More than 10, in these seeds."""
    seeds = pd.Series(values, dtype=float)
    return Claim(sentence, {"alpha": float("nan")}, "points", "more than", 10, seeds, Said())


@pytest.mark.parametrize(
    ("first", "second", "agree"),
    [
        ([14, 15, 16], [14.5, 15.5, 16.5], "yes"),  # 15 ± 2.5 and 15.5 ± 2.5
        ([14, 15, 16], [19, 20, 21], "no"),  # both hold, but far apart
        ([14, 15, 16], [9, 14, 19], "no"),  # one is not decided, however near
        ([14, 15, 16], [15, 15, 15], "yes"),  # within the wider interval
        ([12, 12, 12], [12, 12, 12], "yes"),
        ([12, 12, 12], [12.1, 12.1, 12.1], "no"),
        ([5, 10, 15], [4, 11, 16], "yes"),  # neither is decided
        ([14], [14, 15, 16], "not decided"),
        ([14, float("nan")], [14, 15], "not decided"),
    ],
)
def test_agreement(first, second, agree):
    for pair in (Pair(claim(*first), claim(*second)), Pair(claim(*second), claim(*first))):
        assert pair.agree == agree


def test_claims_meet_their_counterparts_and_one_alone_does_not_agree():
    pairs = compare(
        [claim(14, 15, sentence="a"), claim(14, 15, sentence="b")],
        [claim(14, 15, sentence="c"), claim(14, 15, sentence="a")],
    )
    assert [(p.claim.sentence, p.agree) for p in pairs] == [("a", "yes"), ("b", "no"), ("c", "no")]


def test_a_study_agrees_with_itself_whatever_weight_decay_it_finds_the_best():
    rounds = collected.chains(tiny())
    claims = ask(rounds, RULE)
    assert all(pair.agree == "yes" for pair in compare(claims, claims))
    other = collected.chains(tiny().replace({"weight_decay": {0.01: 0.02}}))
    assert all(pair.agree == "yes" for pair in compare(claims, ask(other, RULE)))


@pytest.fixture
def runs(tmp_path):
    """Two runs: one as the workflow leaves it, the other a bare copy of an older version's."""
    for name in ("one", "two"):
        folder = tmp_path / name
        folder.mkdir()
        config = {"early_stopping": vars(RULE) | {"ends_chains": False}}
        (folder / "study.json").write_text(json.dumps(config))
    collected.write(tmp_path / "one" / "rounds.csv", tiny().assign(instruction_set="AVX2"))
    old = tiny().drop(columns="validation_images")
    old.to_csv(tmp_path / "two" / "rounds.csv", index=False)
    return tmp_path


def said(folder, fails=False):
    command = [sys.executable, "-m", "sdd", "compare", "one/rounds.csv", "two/rounds.csv"]
    done = subprocess.run(
        command, cwd=folder, env={"PYTHONPATH": str(ROOT)}, text=True, encoding="utf-8",
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    assert (done.returncode != 0) == fails, done.stdout
    return done.stdout


def test_the_command(runs):
    lines = said(runs).splitlines()
    assert lines[0] == "first: one/rounds.csv, 2 seeds, cpu, AVX2"
    assert lines[1] == "second: two/rounds.csv, 2 seeds, cpu"
    table = [line for line in lines if line.startswith("| ")]
    count = len(ask(collected.chains(tiny()), RULE))
    assert len(table) == count + 2 and all(line.endswith("| yes |") for line in table[2:])
    assert lines[-1] == f"{count} of {count} claims agree."


@pytest.mark.parametrize(
    ("file", "content", "words"),
    [
        (
            "two/study.json",
            '{"early_stopping": {"patience": 9, "tolerance": 1}}',
            "different early",
        ),
        ("two/study.json", '{"early_stopping": {"ends_chains": true}}', "need whole ones"),
        ("two/study.json", "[]", "two/study.json does not say early_stopping"),
        ("two/study.json", None, "two/study.json is missing"),
        ("two/rounds.csv", "seed,round\n1,0\n", "two/rounds.csv is no table of rounds: it lacks"),
        ("two/rounds.csv", "", "two/rounds.csv is no table of rounds"),
        ("one/rounds.csv", "a,b\n", "one/rounds.csv was altered"),
    ],
)
def test_what_cannot_be_compared_is_named(runs, file, content, words):
    if content is None:
        (runs / file).unlink()
    else:
        (runs / file).write_text(content)
    assert words in said(runs, fails=True)


def test_other_settings_have_no_claim_in_common(runs):
    other = tiny().drop(columns="validation_images").assign(noise="symmetric-0.2")
    other.to_csv(runs / "two" / "rounds.csv", index=False)
    assert "no claim in common" in said(runs, fails=True)
