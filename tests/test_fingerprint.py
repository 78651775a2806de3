"""The hash of a stage's code: what counts, and that nothing a stage runs is left out."""

import shutil
import subprocess
import sys

import pytest
from conftest import ROOT

from sdd.fingerprint import modules

STAGES = ("prepare_dataset", "noisy_labels", "train_round", "select_teacher", "collect_rounds",
          "table", "figure", "figure_of_weights")  # fmt: skip


@pytest.fixture
def package(tmp_path):
    """A copy of the library, and its fingerprints as a fresh process computes them."""
    shutil.copytree(ROOT / "sdd", tmp_path / "sdd")

    def fingerprints():
        code = "import json, sys; from sdd.fingerprint import fingerprint as f; " \
            "print(json.dumps({s: f(s) for s in sys.argv[1:]}))"  # fmt: skip
        run = [sys.executable, "-c", code, *STAGES]
        return eval(subprocess.check_output(run, cwd=tmp_path, text=True))

    return tmp_path / "sdd", fingerprints


def edit(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def test_comments_docstrings_and_formatting_do_not_count(package):
    folder, fingerprints = package
    before = fingerprints()
    for path in folder.rglob("*.py"):
        path.write_text("# a comment\n" + path.read_text() + "\n\n\n# another\n")
    edit(folder / "pruning.py", "Magnitude pruning of all", "Pruning by size of all")
    edit(folder / "settings.py", "    kind: str\n", "    kind: str  # what kind\n\n")
    assert fingerprints() == before


@pytest.mark.parametrize(
    ("file", "old", "new", "stages"),
    [
        ("pruning.py", "stable=True", "stable=False", {"train_round"}),
        ("models/lenet.py", "nn.ReLU", "nn.GELU", {"train_round"}),
        ("selection.py", "[:3]", "[:4]", {"select_teacher", "collect_rounds"}),
        ("label_noise.py", "(true + 1)", "(true + 2)", {"noisy_labels", "collect_rounds"}),
        ("tables.py", "import", "import abc\nimport", {"table", "figure", "figure_of_weights"}),
    ],
)  # fmt: skip
def test_code_counts_for_the_stages_that_run_it(package, file, old, new, stages):
    folder, fingerprints = package
    before = fingerprints()
    edit(folder / file, old, new)
    after = fingerprints()
    assert {s for s in STAGES if before[s] != after[s]} == stages


@pytest.mark.parametrize("stage", STAGES)
def test_every_module_that_a_stage_loads_is_counted(stage):
    """What `python -m sdd STAGE` really imports, against what the hash covers."""
    imports = {
        "prepare_dataset": "import sdd.preparation",
        "noisy_labels": "import sdd.labelling",
        "train_round": "import sdd.rounds",
        "select_teacher": "import sdd.selection, sdd.files",
        "collect_rounds": "import sdd.results",
        "table": "import sdd.tables, sdd.settings",
        "figure": "import sdd.figures, sdd.settings",
        "figure_of_weights": "import sdd.figures, sdd.settings",
    }[stage]
    code = f"{imports}; import sys; print(*(m.__file__ for n, m in sys.modules.items() " \
        "if n.split('.')[0] == 'sdd'))"  # fmt: skip
    loaded = subprocess.check_output([sys.executable, "-c", code], cwd=ROOT, text=True).split()
    assert set(loaded) <= {str(path) for path in modules(stage)}
