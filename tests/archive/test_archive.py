"""An archive of the smoke study: what is in it, what can be made from it alone, and its checks."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from urllib.parse import unquote

import pytest
from conftest import SMOKE

from sdd.archive import container
from sdd.archive.contents import gather, kept_weights
from sdd.base.errors import DataError, StudyError
from sdd.base.files import read_json, write_json
from sdd.study.opening import open_study
from sdd.study.study import Study

CRATE = "ro-crate-metadata.json"


def archive(workflow, output: Path, *arguments: str, fails: bool = False) -> str:
    return workflow.sdd("archive", *SMOKE, "--output", str(output), *arguments, fails=fails)


@pytest.fixture(scope="module")
def made(finished, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("archive") / "smoke.zip"
    said = archive(finished, path)
    assert hashlib.sha256(path.read_bytes()).hexdigest() in said
    return path


@pytest.fixture(scope="module")
def unpacked(made, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("unpacked")
    with zipfile.ZipFile(made) as file:
        file.extractall(folder)
    return folder


@pytest.fixture
def study(finished, monkeypatch) -> Study:
    """The finished study, in its folder."""
    monkeypatch.chdir(finished.folder)
    return open_study([Path(SMOKE[1])])


@pytest.fixture
def copied(study, tmp_path, monkeypatch) -> Study:
    """The same in a folder of its own, to be changed."""
    for part in ("results", "reports", "resources"):
        shutil.copytree(part, tmp_path / part)
    monkeypatch.chdir(tmp_path)
    return study


def sums(folder: Path, name: str) -> dict[str, str]:
    lines = (folder / name).read_text().splitlines()
    return {path: digest for digest, _, path in (line.partition("  ") for line in lines)}


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


# --- What is in it --------------------------------------------------------------------------------


def test_every_file_has_its_checksum(finished, unpacked):
    there = {p.relative_to(unpacked).as_posix() for p in unpacked.rglob("*") if p.is_file()}
    expected = sums(unpacked, "checksums.sha256")
    assert there - expected.keys() == {"checksums.sha256"}
    assert {path: digest(unpacked / path) for path in expected} == expected
    # Those of the study are its own, and no file of it is forgotten but logs.
    ours = [p for top in ("results", "reports") for p in (finished.folder / top).rglob("*")]
    files = {p.relative_to(finished.folder).as_posix(): p for p in ours if p.is_file()}
    files = {path: file for path, file in files.items() if "/logs/" not in path}
    left_out = sums(unpacked, "left-out.sha256")
    assert files.keys() <= expected.keys() | left_out.keys()
    assert all(digest(file) == {**expected, **left_out}[path] for path, file in files.items())
    assert "resources/datasets/mnist-5k/data.safetensors" in left_out
    assert {"envs/requirements.txt", "Snakefile", "sdd/__main__.py"} <= there
    assert not [path for path in there if "__pycache__" in path or path.startswith("/")]


def test_versions_are_those_of_the_rounds(unpacked):
    versions = json.loads((unpacked / "versions.json").read_text())
    assert versions["python"] == {".".join(map(str, sys.version_info[:3])): 16}
    assert sum(versions["code"].values()) == 16 and "torch" in versions


@pytest.mark.parametrize(
    ("weights", "of_each"),
    [("none", []), ("shown", [0, 3]), ("dense", [0]), ("all", [0, 1, 2, 3]), ("best", None)],
)
def test_weights_by_choice(study, weights, of_each):
    kept = kept_weights(study, weights)
    shown = kept_weights(study, "shown") if weights != "none" else []
    # Figure 4 shows two rounds of both plain chains.
    plain = [path for path, chain in study.chains.items() if not chain.teacher]
    assert len(shown) in (0, 4) and all(any(path in one for path in plain) for one in shown)
    for path in study.chains:
        wanted = of_each
        if weights == "best":
            rounds = [read_json(Path(study.layout.round(path, n).facts)) for n in study.rounds]
            accuracies = [(m["validation"]["accuracy"], m["round"]) for m in rounds]
            wanted = [max(accuracies)[1]]
        if weights == "shown" and path not in plain:
            wanted = []
        names = {study.layout.round(path, number).data for number in wanted}
        names |= {one for one in shown if f"/{path}/" in one}
        assert {one for one in kept if f"/{path}/" in one} == names
    assert len(kept) == len(set(kept))


def test_the_same_study_gives_the_same_bytes(finished, made, tmp_path):
    archive(finished, tmp_path / "again.zip")
    assert (tmp_path / "again.zip").read_bytes() == made.read_bytes()
    with zipfile.ZipFile(made) as file:
        assert {info.date_time for info in file.infolist()} == {(1980, 1, 1, 0, 0, 0)}


# --- RO-Crate 1.1, by its specification -----------------------------------------------------------


def test_it_is_a_crate(unpacked):
    crate = json.loads((unpacked / CRATE).read_text())
    assert crate.keys() == {"@context", "@graph"}
    assert crate["@context"] == "https://w3id.org/ro/crate/1.1/context"
    graph = {entity["@id"]: entity for entity in crate["@graph"]}
    assert len(graph) == len(crate["@graph"]) and all("@type" in e for e in graph.values())
    about = graph[CRATE]
    assert about["@type"] == "CreativeWork" and about["about"] == {"@id": "./"}
    assert about["conformsTo"] == {"@id": "https://w3id.org/ro/crate/1.1"}
    root = graph["./"]
    assert root["@type"] == "Dataset"
    assert all(root[key] for key in ("name", "description", "datePublished", "license"))
    assert len(root["datePublished"]) == len("2026-01-01")
    parts = {part["@id"] for part in root["hasPart"]}
    files = {entity["@id"] for entity in graph.values() if "File" in entity["@type"]}
    there = {p.relative_to(unpacked).as_posix() for p in unpacked.rglob("*") if p.is_file()}
    assert parts == files and {unquote(name) for name in files} == there - {CRATE}
    for name in files:
        size = graph[name].get("contentSize")
        assert size is None or int(size) == (unpacked / unquote(name)).stat().st_size
    assert [name for name in files if "contentSize" not in graph[name]] == ["checksums.sha256"]

    def referred(value):
        if isinstance(value, dict):
            yield from [value["@id"]] if value.keys() == {"@id"} else []
            yield from (one for part in value.values() for one in referred(part))
        elif isinstance(value, list):
            yield from (one for part in value for one in referred(part))

    # Nothing nested, and nothing pointed to that is not described but on the web.
    for entity in graph.values():
        assert all(n in graph or n.startswith("https://") for n in referred(entity))
        for value in entity.values():
            for one in value if isinstance(value, list) else [value]:
                assert isinstance(one, str) or one.keys() == {"@id"}


# --- From it alone --------------------------------------------------------------------------------


def redrawn(folder: Path, name: str, output: Path) -> None:
    """Makes one entry of redraw.json by the archive's own code."""
    entry = json.loads((folder / "redraw.json").read_text())[name]
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    words = ["--spec", json.dumps(entry["spec"]), "--output", output, "--log", os.devnull]
    words += (
        ["--first", entry["first"]] if "first" in entry else ["--rounds", entry["rounds"]]
    ) + entry.get("weights", [])
    command = [sys.executable, "-m", "sdd", entry.get("stage", name), *words]
    subprocess.run(command, cwd=folder, env=environment, check=True)


@pytest.mark.parametrize("name", ["descent", "table2_distillation"])
def test_a_table_is_redrawn(finished, unpacked, tmp_path, name):
    redrawn(unpacked, name, tmp_path / "table.csv")
    for suffix in ("csv", "md", "tex"):
        original = finished.folder / f"reports/smoke/tables/{name}.{suffix}"
        assert (tmp_path / f"table.{suffix}").read_bytes() == original.read_bytes()


@pytest.mark.parametrize("name", ["figure2_occurrence", "figure4_weights"])
def test_a_figure_is_redrawn(finished, unpacked, tmp_path, name):
    redrawn(unpacked, name, tmp_path / "figure.png")
    for suffix in ("png", "pdf"):
        original = finished.folder / f"reports/smoke/figures/{name}.{suffix}"
        assert (tmp_path / f"figure.{suffix}").read_bytes() == original.read_bytes()


def test_all_rounds_are_collected_again(finished, unpacked, tmp_path):
    redrawn(unpacked, "collect_rounds", tmp_path / "rounds.csv")
    original = finished.folder / "reports/smoke/rounds.csv"
    assert (tmp_path / "rounds.csv").read_bytes() == original.read_bytes()


# --- What is refused ------------------------------------------------------------------------------


def test_a_study_that_is_not_begun_is_refused(workflow, tmp_path):
    said = archive(workflow, tmp_path / "none.zip", fails=True)
    assert "smoke is not archived, since it is not finished" in said
    assert "round00/metrics.json is missing: 0 of 4 rounds of this chain fit" in said
    assert "more" in said and "Traceback" not in said and not list(tmp_path.glob("*.zip"))


@pytest.mark.parametrize(
    ("pattern", "change", "said"),
    [
        ("reports/**/figure3_l2.png", Path.unlink, "is missing"),
        ("results/**/round02/model.safetensors", lambda f: f.write_bytes(b"x"), "its checksum"),
        ("results/**/round03/metrics.json", lambda f: f.write_text("{"), "does not fit: 3 of 4"),
        ("reports/**/descent.csv", lambda f: f.write_text("setting\n"), "gives: delete it"),
        ("reports/**/study.json", lambda f: f.write_text("{}\n"), "is of another config"),
    ],
)
def test_what_is_missing_or_altered_is_named(copied, pattern, change, said):
    file = next(Path(".").glob(pattern))
    change(file)
    with pytest.raises(StudyError, match=said) as refused:
        gather(copied, "none")
    assert file.as_posix() in str(refused.value)


def test_metrics_that_rounds_csv_was_not_collected_from_are_noticed(copied):
    file = next(Path(".").glob("results/**/round01/metrics.json"))
    write_json(file, read_json(file) | {"seconds": 1.0})  # whole, and of this config
    with pytest.raises(StudyError, match=r"rounds\.csv is not what this study gives"):
        gather(copied, "none")


# --- The check ------------------------------------------------------------------------------------


def rewritten(made: Path, path: Path, change) -> Path:
    """A copy of the archive with other members, each with a .zip's own checksum."""
    with zipfile.ZipFile(made) as before, zipfile.ZipFile(path, "w") as after:
        members = {info.filename: before.read(info) for info in before.infolist()}
        change(members)
        for name, content in members.items():
            after.writestr(name, content)
    return path


def test_a_whole_archive_is_whole(finished, made):
    said = finished.sdd("archive", "--check", str(made))
    with zipfile.ZipFile(made) as file:
        assert f"all {len(file.namelist()) - 1} files are as they were archived" in said


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda m: m.update({"reports/smoke/rounds.csv": b"round\n0\n"}), "rounds.csv was altered"),
        (lambda m: m.pop("reports/smoke/rounds.csv"), "rounds.csv is missing"),
        (lambda m: m.update({"more.txt": b""}), "more.txt does not belong to it"),
        (lambda m: m.pop("checksums.sha256"), "no archive of a study"),
    ],
)
def test_an_altered_archive_is_named(made, tmp_path, change, said):
    with pytest.raises(DataError, match=said):
        container.check(rewritten(made, tmp_path / "altered.zip", change))


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_a_damaged_archive_is_named(made, tmp_path, share):
    path = tmp_path / "damaged.zip"
    shutil.copy(made, path)
    content = bytearray(made.read_bytes())
    place = int(share * len(content))
    content[place : place + 50] = bytes(50)
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"damaged\.zip"):
        container.check(path)
    path.write_bytes(content[:place])
    with pytest.raises(DataError, match=r"damaged\.zip is damaged"):
        container.check(path)
