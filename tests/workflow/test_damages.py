"""Every kind of file of a finished study, damaged in every way: named, remade, or no matter.

Jobs run as Snakemake has recorded them, in this process. None may wait, end in a traceback, leave
half of anything behind, or give another result without a word.

pytest -m long tests/workflow/test_damages.py      every damage of every file; else one of each
"""

import itertools
import json
import os
import shlex
import shutil
import signal
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from conftest import SMOKE, Job, Workflow
from test_portability import lasting, same

from sdd.__main__ import main
from sdd.base import layout
from sdd.base.files import write_json
from sdd.rounds import segment

KINDS = (
    "noisy_labels", "train_dense", "prune_retrain", "select_teacher", "teacher_logits",
    "distill_dense", "distill_retrain", "collect_rounds", "table", "figure", "page",
    "html_report",
)  # fmt: skip
WAITS_S = 120  # on a busy machine
DEEP = b'{"a": ' + b"[" * 10_000 + b"]" * 10_000 + b"}"
LONG = b'{"a": ' + b"9" * 10_000 + b"}"


# --- Damages --------------------------------------------------------------------------------------


def clear(path: Path) -> None:
    with suppress(FileNotFoundError):
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()


def flipped(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


def rows(change: Callable[[list[bytes]], list[bytes]]) -> Callable[[bytes], bytes]:
    def changed(content: bytes) -> bytes:
        head, *others = content.splitlines(keepends=True)
        return b"".join([head, *change(others)])

    return changed


# In the place of a file.
INSTEAD: dict[str, Callable[[Path], None]] = {
    "nothing": lambda path: None,
    "a folder": Path.mkdir,
    "a pipe": os.mkfifo,
    "a broken link": lambda path: path.symlink_to("nowhere"),
    "a link to itself": lambda path: path.symlink_to(path.name),
    "another record": lambda path: write_json(path, {"a": 1}),
}
# In a file.
CONTENT: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda content: b"",
    "cut off": lambda content: content[: len(content) // 2],
    "longer": lambda content: content + content[-9:],
    "a bit flipped": flipped,
    "too deep": lambda content: DEEP,
    "too long a number": lambda content: LONG,
    "a list": lambda content: b"[1]",
    "not UTF-8": lambda content: b"\xff\xfe" + content,
}
TABLES: dict[str, Callable[[bytes], bytes]] = {
    "no table": lambda content: b"a,b\n1\n2,3,4\n",
    "a row less": rows(lambda others: others[:-1]),
    "a row twice": rows(lambda others: [*others, others[0]]),
    "rows in another order": rows(lambda others: others[::-1]),
}


def anothers(path: Path) -> Path | None:
    """Another file of this kind, which is whole."""
    study = Path("results")
    near = [*study.rglob(path.name), *path.parent.glob(f"*{path.suffix}")]
    content = path.read_bytes()
    return next((other for other in near if other.read_bytes() != content), None)


def damages(path: Path) -> dict[str, Callable[[], None]]:
    """All that may have happened to a file; each is to be called once the file is gone."""
    content, other = path.read_bytes(), anothers(path)
    found = {name: lambda f=f: f(path) for name, f in INSTEAD.items()}
    for name, f in (CONTENT | (TABLES if path.suffix == ".csv" else {})).items():
        found[name] = lambda f=f: path.write_bytes(f(content))
    if other:
        its = other.read_bytes()
        found["another's"] = lambda: path.write_bytes(its)
        if path.name in (layout.METRICS, layout.LOGITS, layout.LABELS):
            found["another's, and its data"] = lambda: [
                shutil.copy(other, path), shutil.copy(layout.data_of(other), layout.data_of(path))
            ]  # fmt: skip
        if path.parent.name in ("tables", "figures"):
            found["another's, and what vouches for it"] = lambda: [
                shutil.copy(other.with_suffix(suffix), path.with_suffix(suffix))
                for suffix in (".json", path.suffix)
            ]  # fmt: skip
    return found


# --- Jobs in this process -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def study(finished, tmp_path_factory) -> Path:
    return Workflow(tmp_path_factory.mktemp("damaged") / "study", source=finished.folder).folder


@pytest.fixture
def inside(study, finished, monkeypatch) -> Iterator[Callable[[Path], None]]:
    """The study's folder; and puts files back as they were."""
    monkeypatch.chdir(study)

    def put_back(path: Path) -> None:
        clear(path)
        if (finished.folder / path).exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(finished.folder / path, path)

    handlers = {s: signal.getsignal(s) for s in (signal.SIGTERM, signal.SIGINT, signal.SIGALRM)}
    yield put_back
    for number, handler in handlers.items():
        signal.signal(number, handler)


class Waits(BaseException):
    """A job waits for somebody else."""


def interrupt(*_: object) -> None:
    raise Waits


def run(command: str, monkeypatch) -> str:
    """What a job says as it is refused; empty if it ends well. Anything else that it raises comes
    out."""
    python, _, sdd, *arguments = shlex.split(command)
    assert (python, sdd) == ("python", "sdd")
    monkeypatch.setattr(sys, "argv", ["sdd", *arguments])
    signal.signal(signal.SIGALRM, interrupt)
    signal.alarm(WAITS_S)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("default")  # as in a job
            main()
    except SystemExit as end:
        return str(end.code)
    finally:
        signal.alarm(0)
    return ""


def verdict(job: Job, damaged: Path, finished: Workflow, monkeypatch) -> str | None:
    """What is wrong with how the job has dealt with it; None if nothing is."""
    try:
        said = run(job.command, monkeypatch)
    except Waits:
        return "waits"
    except Exception as error:
        return f"a traceback: {type(error).__name__}: {error}"
    outputs = [Path(path) for path in job.outputs]
    folders = {path.parent for path in outputs}
    if left := [path for folder in folders for path in folder.glob(".*.*")]:
        return f"leaves {left}"
    if said:
        # Facts are named for what they vouch for.
        named = {str(damaged), *(str(p) for p in damaged.parent.glob("*.json"))}
        clear_enough = said.startswith("error: ") and any(name in said for name in named)
        if not clear_enough or "snakemake again" not in said:
            return f"an unclear message: {said}"
        there = [path for path in outputs if path.is_file()]
        return f"refused, and yet made {there}" if there and damaged not in outputs else None
    if job.stage == "html_report":  # dated
        return None if "figure1_phenomenon" in outputs[0].read_text("utf-8") else "an empty page"
    differing = [str(path) for path in outputs if not alike(path, finished.folder / path)]
    return f"another result without a word: {differing}" if differing else None


def alike(path: Path, other: Path) -> bool:
    """Whether two files hold the same results, whether or not one of several jobs made them."""
    if path.name != layout.METRICS:
        return same(path, other)
    its, others = (lasting(json.loads(p.read_text("utf-8"))) for p in (path, other))
    return its | {"runs": None} == others | {"runs": None}


def one_of_each_kind(paths: list[str]) -> list[Path]:
    """Files of the same name are of one kind, and so are all tables and all figures."""
    kinds = {}
    for path in map(Path, paths):
        shown = path.parent.name in ("tables", "figures")
        kinds.setdefault((path.parent.name, path.suffix) if shown else path.name, path)
    return list(kinds.values())


def tried(cases: list[tuple], every: bool, turn: Iterator[int]) -> list[tuple]:
    """All of a file's damages, or the one whose turn it is."""
    return cases if every else [cases[next(turn) % len(cases)]]


@pytest.fixture(params=[False, pytest.param(True, marks=pytest.mark.long)], ids=["one", "every"])
def every(request) -> bool:
    return request.param


@pytest.mark.parametrize("kind", KINDS)
def test_of_a_jobs_inputs(recorded, finished, inside, monkeypatch, kind, every):
    job, wrong = recorded[kind], []
    turn = itertools.count(7 * KINDS.index(kind))
    touched = [Path(path) for path in (*job.outputs, *job.logs)]
    for path in one_of_each_kind(job.inputs):
        for name, damage in tried(list(damages(path).items()), every, turn):
            for output in touched:
                clear(output)
            clear(path)
            damage()
            if problem := verdict(job, path, finished, monkeypatch):
                wrong.append(f"{path}, {name}: {problem}")
            for used in (path, *path.parent.glob("*.*")):
                inside(used)
    for path in touched:
        inside(path)
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("kind", ["prepare_dataset", "study_config", *KINDS])
def test_of_the_places_of_a_jobs_outputs(recorded, finished, inside, monkeypatch, kind, every):
    job, wrong = recorded[kind], []
    turn = itertools.count(KINDS.index(kind) if kind in KINDS else 3)
    kinds = [name for name in INSTEAD if name != "another record"]
    outputs = [Path(path) for path in (*job.outputs, *job.logs)]
    for path in outputs:
        for name in tried(kinds, every, turn):
            for output in outputs:
                clear(output)
            INSTEAD[name](path)
            if problem := verdict(job, path, finished, monkeypatch):
                wrong.append(f"{path}, {name}: {problem}")
    for path in outputs:
        inside(path)
    assert not wrong, "\n".join(wrong)


def test_of_what_unfinished_trainings_go_on_from(recorded, finished, inside, monkeypatch, every):
    job = recorded["prune_retrain"]
    outputs = [Path(path) for path in (*job.outputs, *job.logs)]
    chain = Path(job.outputs[0]).parent.parent
    state = layout.ChainState.of(
        Path("results/smoke/.state"), str(chain.relative_to("results/smoke/chains"))
    )
    number = int(outputs[0].parent.name.removeprefix("round"))

    def begin() -> None:
        """A training that was stopped after an epoch, and a round that waits."""
        for path in (state.folder, *outputs):
            clear(path)
        with monkeypatch.context() as patched:
            patched.setattr(segment.Job, "orphaned", lambda self: "stopped")
            assert "stopped" in run(f"{job.command} --save_every 0", patched)
        assert state.sidecar(number).exists()

    def wait() -> None:
        begin()
        with monkeypatch.context() as patched:
            patched.setattr(segment.Job, "deliver", lambda *_: None)
            assert not run(job.command, patched)
        assert state.metrics(number).exists()

    wrong, turn = [], itertools.count(5)
    for prepare, path in (
        (begin, state.sidecar(number)),
        (wait, state.metrics(number)),
        (wait, layout.data_of(state.metrics(number))),
        (begin, state.lock),
        (begin, state.claim),
        (begin, state.folder),
        (begin, state.folder.parent),
    ):
        prepare()
        if path.is_dir() or not path.exists():
            cases = {name: lambda f=f, p=path: f(p) for name, f in INSTEAD.items()}
        else:
            cases = damages(path)
        for name, damage in tried(list(cases.items()), every, turn):
            prepare()
            clear(path)
            damage()
            if problem := verdict(job, path, finished, monkeypatch):
                wrong.append(f"{path}, {name}: {problem}")
            clear(path)
    clear(state.folder.parent)
    for path in outputs:
        inside(path)
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("damage", ["a folder", "a pipe", "a list"])
def test_of_the_choice_that_snakemake_reads(finished, tmp_path, damage):
    copy = Workflow(tmp_path / "copy", source=finished.folder)
    choice = next((copy.folder / "results").rglob("teacher.json"))
    clear(choice)
    INSTEAD[damage](choice) if damage in INSTEAD else choice.write_bytes(CONTENT[damage](b""))
    said = copy.snakemake("--dry-run", *SMOKE, fails=True, timeout=60).stdout
    name = str(choice.relative_to(copy.folder))
    assert name in said and "Delete it and run snakemake again" in said
    assert "Traceback (most recent" not in said


@pytest.mark.parametrize("damage", ["a folder", "a pipe", "a broken link"])
def test_of_the_runs_lock(finished, tmp_path, damage):
    copy = Workflow(tmp_path / "copy", source=finished.folder)
    lock = copy.folder / layout.RUN_LOCK
    clear(lock)
    INSTEAD[damage](lock)
    clear(copy.folder / "reports/smoke/tables/claims.csv")
    said = copy.snakemake(*SMOKE, fails=True, timeout=60).stdout
    assert f"{layout.RUN_LOCK} is no file" in said and "snakemake again" in said
    assert "Traceback" not in said
