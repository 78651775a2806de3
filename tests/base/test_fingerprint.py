"""The hash of a job's code: what counts, that nothing a job runs is left out, and that it is the
same wherever it is computed."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT

from sdd.__main__ import STAGES
from sdd.base import fingerprint, names
from sdd.data.noise_kinds import KINDS
from sdd.models.names import MODELS
from sdd.report.catalogue import FIGURES, TABLES
from sdd.study.methods import CRITERIA, RETRAININGS

ALL = [f"sdd.stages.{stage}" for stage in STAGES]
# Syntax of many kinds, and what versions of Python print differently.
SAMPLE = '''
"""A docstring."""
import os.path as p
from . import q

async def f(a, /, b: int = 0x10, *c, d=-0.0, **e) -> "str":
    """Another."""
    async with a as b, c:
        yield [x async for x in b if x]
    match a:
        case {"k": [1, *_], **rest} if rest:
            return f"{a!r:>{b}} é \\N{BULLET}" f'{b:%Y-%m}' "tail"
        case A(x=1) | None | -1j:
            raise E from None
    try:
        pass
    except* (ValueError, TypeError) as error:
        lambda *, k=1e400, j=...: (k := j)
    finally:
        a[1:2, ::3] @= b if c else not d
    return (yield), b"\\x00", "\\ud800", 10**3, True, None
'''


def test_the_identity_of_a_text_is_the_same_on_every_python():
    """Recorded with 3.11, 3.12 and 3.13."""
    recorded = "547613c192caef1c71315ad79c43cfa764d65181deba00a669840ba679712436"
    assert fingerprint.identity(SAMPLE) == recorded


def others() -> list[str]:
    """Interpreters of other versions on this machine that the project supports."""
    found = []
    for minor in range(11, 20):
        name = f"python3.{minor}"
        places = [shutil.which(name), *Path.home().glob(f".pyenv/versions/3.{minor}.*/bin/{name}")]
        alive = (
            str(place)
            for place in places
            if place and not subprocess.run([place, "-c", ""], capture_output=True).returncode
        )
        if minor != sys.version_info.minor and (there := next(alive, None)):
            found.append(there)
    return found


@pytest.mark.parametrize("python", [sys.executable, *others()])
def test_the_code_of_the_stages_is_the_same_on_every_python_and_in_every_locale(python):
    program = (
        "import sys, json; sys.path.insert(0, sys.argv[1]); from sdd.base import fingerprint; "
        "print(json.dumps({m: fingerprint.code(m) for m in sys.argv[2:]}))"
    )
    done = subprocess.run(
        [python, "-S", "-c", program, str(ROOT), *ALL],
        env={"PATH": os.environ["PATH"], "LC_ALL": "C", "PYTHONUTF8": "0"},
        text=True, capture_output=True, check=True,
    )  # fmt: skip
    assert json.loads(done.stdout) == {module: fingerprint.code(module) for module in ALL}


@pytest.fixture
def package(tmp_path):
    """A copy of the library, and its fingerprints as a fresh process computes them."""
    shutil.copytree(ROOT / "sdd", tmp_path / "sdd")

    def fingerprints() -> dict[str, str]:
        code = "import json, sys; from sdd.base.fingerprint import code; " \
            "print(json.dumps({m.split('.')[-1]: code(m) for m in sys.argv[1:]}))"  # fmt: skip
        run = [sys.executable, "-c", code, *ALL]
        return json.loads(subprocess.check_output(run, cwd=tmp_path, text=True))

    return tmp_path / "sdd", fingerprints


def edit(path, old, new):
    text = path.read_text("utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), "utf-8")


def test_comments_docstrings_and_formatting_do_not_count(package):
    folder, fingerprints = package
    before = fingerprints()
    for path in folder.rglob("*.py"):
        path.write_text("# a comment\n" + path.read_text("utf-8") + "\n\n\n# another\n", "utf-8")
    edit(folder / "sparsity/masks.py", '"""', '"""Something else. ')
    edit(folder / "data/settings.py", "    kind: str\n", "    kind: str  # what kind\n\n")
    assert fingerprints() == before


TRAINED = {"train_round"}
WEIGHTS = {"train_round", "teacher_logits"}


@pytest.mark.parametrize(
    ("file", "stages"),
    [
        ("sparsity/compaction.py", TRAINED | {"deploy"}),
        ("sparsity/kernels.py", TRAINED | {"deploy"}),
        ("sparsity/cost.py", TRAINED | {"adopt_teacher", "deploy"}),
        ("rounds/outside.py", {"adopt_teacher"}),
        ("rounds/model_check.py", {"check_model"}),
        ("rounds/resume.py", TRAINED),
        ("rounds/objective.py", TRAINED),
        ("training/optimizer.py", TRAINED),
        ("training/loop.py", TRAINED),
        ("rounds/teacher_logits.py", WEIGHTS),
        ("training/augmentation.py", WEIGHTS | {"deploy"}),
        ("deployment/simplify.py", {"deploy"}),
        ("deployment/selection.py", {"deploy"}),
        ("analysis/selection.py", {"select_teacher", "collect_rounds"}),
        ("analysis/collecting.py", {"collect_rounds"}),
        ("report/table_writer.py", {"table"}),
        ("report/figure_writer.py", {"figure"}),
        ("data/labelling.py", {"noisy_labels"}),
        ("data/preparation.py", {"prepare_dataset"}),
        ("study/validation.py", set()),
        ("study/reading.py", set()),
        ("planning/bill.py", set()),
    ],
)
def test_code_counts_for_the_stages_that_run_it_and_no_others(package, file, stages):
    folder, fingerprints = package
    before = fingerprints()
    path = folder / file
    path.write_text(path.read_text("utf-8") + "\nUNUSED = 1\n", "utf-8")
    after = fingerprints()
    assert {stage for stage in STAGES if before[stage] != after[stage]} == stages


def test_what_is_found_by_name_is_code_that_exists():
    """Models, kinds of noise, criteria and the like are no imports: their modules are added."""
    entries = [
        *(model.builder for model in MODELS.values()), *(kind.function for kind in KINDS.values()),
        *CRITERIA.values(), *RETRAININGS.values(),
        *(entry.builder for entry in (*TABLES.values(), *FIGURES.values())),
    ]  # fmt: skip
    for name in entries:
        assert fingerprint.located(names.module(name)), name


@pytest.mark.parametrize("stage", STAGES)
def test_every_module_that_a_stage_loads_is_counted(stage):
    """What `python -m sdd STAGE` imports, against what the hash covers."""
    code = f"import sdd.stages.{stage}, sys; print(*(m.__file__ for n, m in sys.modules.items() " \
        "if n.split('.')[0] == 'sdd'))"  # fmt: skip
    loaded = subprocess.check_output([sys.executable, "-c", code], cwd=ROOT, text=True).split()
    counted = {str(module.file) for module in fingerprint.reached(f"sdd.stages.{stage}")}
    assert set(loaded) <= counted


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A user's package and a module beside it, and the code of a model in it."""
    files = {
        "my_package/__init__.py": "",
        "my_package/net.py": "from . import blocks\nfrom .deep.er import thing\nimport helpers\n",
        "my_package/blocks.py": "from sdd.models.resnet import BasicBlock\nimport torch\n",
        "my_package/deep/__init__.py": "",
        "my_package/deep/er.py": "from ..aside import other\n",
        "my_package/aside.py": "other = 1\n",
        "my_package/unused.py": "",
        "helpers.py": "import json\n",
        "unused.py": "",
    }
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    monkeypatch.syspath_prepend(tmp_path)

    def code() -> str:
        program = "from sdd.base.fingerprint import code; print(code('my_package.net'))"
        environment = os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{tmp_path}"}
        run = [sys.executable, "-c", program]
        return subprocess.check_output(run, cwd=tmp_path, env=environment, text=True)

    return tmp_path, code


def test_of_a_users_code_the_modules_beside_it_count(own):
    folder, code = own
    before = code()
    counted = {
        "my_package/__init__.py", "my_package/net.py", "my_package/blocks.py",
        "my_package/deep/er.py", "my_package/aside.py", "helpers.py",
    }  # fmt: skip
    for path in sorted(folder.rglob("*.py")):
        text = path.read_text()
        path.write_text(text + "ANOTHER = 1\n")
        name = path.relative_to(folder).as_posix()
        assert (code() != before) == (name in counted or name == "my_package/deep/__init__.py")
        path.write_text(text)
    assert code() == before
