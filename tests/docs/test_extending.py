"""The page on extending, followed in a copy of the project: its files, its lines, its study."""

import ast
import json
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import Workflow
from pages import EXTENDING, blocks, commands


def insert(file: Path, registry: str, lines: str) -> None:
    """Puts `lines` before the first entry of the dictionary that is called `registry`."""
    text = file.read_text("utf-8")
    (value,) = (
        node.value
        for node in ast.parse(text).body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == registry
    )
    match value:
        case ast.Dict(keys=[first, *_]) | ast.Call(args=[first, *_]):
            pass
        case ast.DictComp(generators=[ast.comprehension(iter=ast.Tuple(elts=[first, *_]))]):
            pass
    before = "".join(text.splitlines(keepends=True)[: first.lineno - 1])
    at = len(before) + first.col_offset
    file.write_text(f"{text[:at]}{lines.strip()}\n{text[at:]}", "utf-8")


@pytest.fixture(scope="module")
def extended(tmp_path_factory) -> Workflow:
    workflow = Workflow(tmp_path_factory.mktemp("extended"))
    for block in blocks(EXTENDING):
        if not block.place:
            continue
        path, where = block.place
        file, lines = workflow.folder / path, block.text.partition("\n")[2]
        match where.split() if where else None:
            case None:
                assert not file.exists(), path
                file.write_text(block.text, "utf-8")
            case ["at", "its", "end"]:
                file.write_text(f"{file.read_text('utf-8')}\n\n{lines}", "utf-8")
            case ["in", registry]:
                insert(file, registry, lines)
    rng = np.random.default_rng(0)
    np.savez(
        workflow.folder / "my_data.npz",
        train_images=rng.integers(256, size=(80, 12, 12), dtype=np.uint8),
        train_labels=np.arange(80) % 3,
        test_images=rng.integers(256, size=(20, 12, 12), dtype=np.uint8),
        test_labels=np.arange(20) % 3,
    )
    write_weights(workflow.folder)
    return workflow


def write_weights(folder: Path) -> None:
    """Of the model of the page, by the page's own lines, as they are written elsewhere."""
    (lines,) = (b.text for b in blocks(EXTENDING, "python") if "save_file(model" in b.text)
    script = f"from my_module import my_net\nmodel = my_net(1, 28, 10)\n{lines}"
    subprocess.run([sys.executable, "-c", script], cwd=folder, check=True)


def test_all_recipes_at_once_run_to_a_table_a_figure_a_stage_and_the_report(extended):
    targets = ["tables/valley_range.md", "figures/figure_validation.png", "winner.json"]
    files = [f"reports/extended/{target}" for target in (*targets, "report.html")]
    extended.snakemake(*files, "--configfile", "extended.yaml")
    table, _, winner, report = ((extended.folder / file).read_bytes() for file in files)
    shared = "data set small-digits; label noise 40 % to-zero noise; model mlp-50"
    assert shared in table.decode() and "| sparsest |" in table.decode()
    (choice,) = (extended.folder / "results/extended/teachers").rglob("sparsest/teacher.json")
    assert json.loads(choice.read_bytes())["round"] == 1
    assert json.loads(winner)["round"] in (0, 1)
    assert b"valley_range" in report and b"figure_validation" in report


@pytest.mark.parametrize(
    "command", [command for command in commands(EXTENDING) if command.startswith("snakemake ")]
)
def test_its_commands_can_be_given(extended, command):
    extended.snakemake(*shlex.split(command)[1:], "--dry-run")


def test_editors_complete_what_was_added(extended):
    schema = extended.sdd("schema")
    for name in (
        "small-digits",
        "to-zero",
        "mlp-<width>",
        "relative-magnitude",
        "orthogonal",
        "shrinking",
        "sparsest",
    ):
        assert name in schema
