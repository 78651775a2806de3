"""What people read is true: links, commands, studies, and the files that tools look for."""

import argparse
import re
import shlex
import shutil
import tomllib
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml
from conftest import ROOT
from pages import (
    DOCS,
    EXTENDING,
    OWN_DATA,
    PAGES,
    README,
    anchors,
    blocks,
    commands,
    links,
    name,
    prose,
)

from sdd.__main__ import STAGES, parse
from sdd.study import data_entries, reading, validation
from sdd.study.study import Study

EACH_PAGE = pytest.mark.parametrize("page", PAGES, ids=name)
WORDS = 1_500  # of the README

# What no test of this file tries, and why.
CHECKS = "a check of .ci/run"
NOT_TRIED = {
    "python3 -m venv .venv": "makes an environment",
    "source .venv/bin/activate": "is of a shell",
    "ruff format --check .": CHECKS,
    "ruff check .": CHECKS,
    "snakefmt --check Snakefile workflow": CHECKS,
    "lint-imports": CHECKS,
    "mypy": CHECKS,
    "python tests/benchmarks/planning/large_studies.py": "takes minutes",
    "nvidia-cuda-mps-control -d": "needs a GPU",
    "snakemake --cores 2 --shared-fs-usage none --default-storage-provider fs "
    "--default-storage-prefix /some/folder --omit-from html_report": "needs a plugin more",
}

NOT_TRIED |= dict.fromkeys(
    (
        "snakemake --snakefile /path/to/clone/Snakefile --cores 8",
        "snakemake --directory /path/to/results --cores 8",
    ),
    "is run in tests/workflow/test_place.py",
)

# The recipes of the page on extending run in a project that has followed them: test_extending.py.
COMMANDS = [(page, command) for page in PAGES for command in commands(page)]
OURS = [(page, command) for page, command in COMMANDS if command not in NOT_TRIED]
SNAKEMAKE = sorted(
    {
        command.removesuffix(" --dry-run")
        for page, command in OURS
        if command.startswith("snakemake ") and page != EXTENDING
    }
)
STUDIES = [
    pytest.param(block.text, id=f"{name(page)}-{number}")
    for page in PAGES
    if page != EXTENDING
    for number, block in enumerate(blocks(page, "yaml"))
]


def written() -> dict[str, str]:
    """The files of a user that the pages write out, such as my_study.yaml."""
    found = [block for page in PAGES for block in blocks(page) if block.place]
    return {block.place[0]: block.text for block in found if "/" not in block.place[0]}


def assert_there(*files: str) -> None:
    for file in files:
        assert (ROOT / file).exists() or file in written(), f"there is no {file}"


# --- Links and size ---


@EACH_PAGE
def test_every_link_leads_somewhere(page):
    for link in links(page):
        if link.startswith("https://"):
            continue
        file, _, anchor = link.partition("#")
        target = (page.parent / file).resolve() if file else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_the_readme_is_short():
    assert len(README.read_text("utf-8").split()) <= WORDS


def test_every_page_is_opened_from_the_readme():
    opened = {(ROOT / link.partition("#")[0]).resolve() for link in links(README)}
    assert {*DOCS, ROOT / "CONTRIBUTING.md", ROOT / "LICENSE", ROOT / "CITATION.cff"} <= opened


@EACH_PAGE
def test_every_page_says_what_it_is(page):
    title, _, rest = page.read_text("utf-8").partition("\n")
    assert title.startswith("# ") and rest.strip()
    if page in DOCS:
        assert "For whoever" in prose(page)


# --- Commands ---


@pytest.mark.parametrize("command", SNAKEMAKE)
def test_snakemake_would_do_it(workflow, example, command):
    _, *words = shlex.split(command)
    if "workflow/profiles/slurm" in words and not find_spec("snakemake_executor_plugin_slurm"):
        pytest.skip("without the plugin for Slurm")
    # Cores are given by the profile or here; these two need none.
    assert {"--cores", "--profile", "--unlock", "--lint"} & set(words)
    for file, text in written().items():
        (workflow.folder / file).write_text(text, "utf-8")
    shutil.copy(example / "digits.npz", workflow.folder)  # as the command before it does
    workflow.snakemake(*words, "--dry-run")


@pytest.mark.parametrize(("page", "command"), OURS, ids=lambda value: getattr(value, "name", value))
def test_every_other_command_is_one(page, command):
    words = shlex.split(command)
    if ">" in words:
        target = words[words.index(">") + 1]
        words = words[: words.index(">")]
        assert_there(target)
    if words[:2] == ["python", "-m"]:
        words = words[2:]
    program, *words = words
    if program == "snakemake":
        if "--configfile" in words:
            assert_there(words[words.index("--configfile") + 1])
    elif program == "python":  # a script, which the example's fixture runs
        assert_there(words[0])
        assert (name(page), words) == (
            name(OWN_DATA),
            ["workflow/studies/own_data.py", "digits.npz"],
        )
    elif program == "sdd":
        args = parse(words)
        assert_there(*map(str, getattr(args, "configfile", [])))
    elif program == "pytest":
        parser = argparse.ArgumentParser()
        parser.add_argument("-m")
        parser.add_argument("-n")
        parser.add_argument("files", nargs="*")
        assert_there(*parser.parse_args(words).files)
    else:
        assert program == "pip", f"{command}: try it here, or say in NOT_TRIED why not"
        parser = argparse.ArgumentParser()
        parser.add_argument("what", choices=["install"])
        parser.add_argument("-r")
        parser.add_argument("-e")
        parser.add_argument("--no-deps", action="store_true")
        args = parser.parse_args(words)
        assert_there(*filter(None, [args.r, args.e]))


def test_what_is_not_tried_stands_in_a_page_and_names_files_that_exist():
    assert NOT_TRIED.keys() <= {command for _, command in COMMANDS}
    checks = (ROOT / ".ci" / "run").read_text("utf-8").splitlines()
    assert {command for command, why in NOT_TRIED.items() if why == CHECKS} <= set(checks)
    assert_there("tests/benchmarks/planning/large_studies.py")


# --- Studies ---


@pytest.mark.parametrize("text", STUDIES)
def test_every_study_can_be_run(embedded, example, tmp_path, monkeypatch, text):
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "study.yaml"
    for named in re.findall(r"file: ([\w/]+\.npz)", text):
        Path(named).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(example / "digits.npz", named)
    file.write_text(text, "utf-8")
    config = validation.validate(reading.merge(embedded, reading.load(file)))
    assert Study.of(config, data_entries.survey(config.datasets)).chains


# --- What the pages list ---


def rows(page: Path, heading: str) -> list[str]:
    """The first cells of the table under a heading, as code."""
    under = page.read_text("utf-8").partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    cells = [line.split("|")[1] for line in under.splitlines() if line.startswith("| `")]
    return [word.strip(" `") for cell in cells for word in cell.split(",")]


def test_the_house_has_the_rooms_and_stages_that_there_are():
    house = ROOT / "workflow" / "docs" / "house.md"
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    (layers,) = (c["layers"] for c in project["tool"]["importlinter"]["contracts"] if "layers" in c)
    assert rows(house, "The rooms") == layers
    assert rows(house, "The stages") == list(STAGES)


# --- Files that tools look for ---


def test_the_citation_is_of_this_version():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert {"cff-version", "message", "title", "authors", "version"} <= citation.keys()
    assert citation["cff-version"] == "1.2.0"
    assert citation["version"] == project["version"]
    (paper,) = citation["references"]
    assert {"type", "title", "authors"} <= paper.keys()
    assert citation["license"] == project["license"] == "MIT"
    assert [a["name"] for a in citation["authors"]] == [a["name"] for a in project["authors"]]
    assert citation["keywords"] == project["keywords"]
    assert paper["url"] == project["urls"]["Paper"]
    (preprint,) = paper["identifiers"]
    assert preprint["value"].removeprefix("arXiv:") == paper["url"].rpartition("/")[2]
    assert (ROOT / "LICENSE").read_text("utf-8").startswith("MIT License\n")


def test_the_catalog_of_workflows_knows_how_to_run_this_one():
    usage = yaml.safe_load((ROOT / ".snakemake-workflow-catalog.yml").read_text("utf-8"))["usage"]
    assert usage.keys() == {"mandatory-flags", "software-stack-deployment"}
    assert usage["mandatory-flags"].keys() == {"desc", "flags"}
    assert usage["software-stack-deployment"].keys() == {
        "conda", "apptainer", "apptainer+conda", "report",
    }  # fmt: skip
