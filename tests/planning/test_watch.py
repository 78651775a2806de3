"""A study watched while it runs: against files as jobs leave them, and in a real terminal."""

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import SMOKE
from synthetic import metrics

from sdd.base import held_locks, layout, locks
from sdd.base.layout import ChainState
from sdd.planning import screen
from sdd.planning.pace import Pace
from sdd.planning.watching import Watch
from sdd.planning.work import ENGINE
from sdd.study import validation
from sdd.study.metrics import Epoch, write_metrics
from sdd.study.reading import merge
from sdd.study.study import Study

NOW = 1_700_000_000.0
EPOCH = "epoch {}/40  learning rate 0.05  loss 1.2345  training accuracy 61.20 % (55.10 % of the true labels)\n"  # noqa: E501


@pytest.fixture
def study(config, tmp_path, monkeypatch) -> Study:
    """Two chains of three rounds, one of a model that is slow; nothing of them is there."""
    monkeypatch.chdir(tmp_path)
    digits = {"dataset": "mnist-5k", "noise": {"kind": "symmetric", "rate": 0.4}}
    experiments = [
        {"name": "quick", **digits, "model": "lenet-300-100", "weight_decay": [1e-4, 1e-2]},
        {"name": "slow", **digits, "model": "my-net"},
    ]
    (tmp_path / "slow.py").write_text("def net(channels, size, classes): ...\n")
    monkeypatch.syspath_prepend(tmp_path)
    recipe = config["recipes"]["lenet-300-100"]
    changes = {
        "seeds": [1], "experiments": experiments, "pruning": {"rounds": 2},
        "models": {"my-net": {"build": "slow:net"}}, "recipes": {"my-net": recipe},
    }  # fmt: skip
    return Study.of(validation.validate(merge(config, changes)))


def paths(study) -> tuple[str, str, str]:
    """Of the two quick chains and the slow one."""
    return tuple(study.chains)


def leave(study, path, number, written=NOW, **changes) -> Path:
    """A round as a job leaves it."""
    file = Path(study.files(study.chains[path], number).facts)
    write_metrics(file, metrics(study.round_spec(study.chains[path], number), **changes))
    os.utime(file, (written, written))
    return file


def begin(study, path, number, log="", began=NOW - 20, wrote=NOW) -> ChainState:
    """A training as its job has it while it works, but for its lock."""
    aside = ChainState.of(Path(study.layout.state), path)
    folder = aside.metrics(number).parent
    folder.mkdir(parents=True)
    aside.claim.write_text("a token")
    file = Path(study.layout.round(path, number).log)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(log)
    os.utime(file, (wrote, wrote))
    os.utime(folder, (began, began))
    return aside


def look(study):
    return Watch(study, clock=lambda: NOW).look()


def tree(folder) -> dict[Path, tuple[int, int]]:
    found = {path: path.lstat() for path in folder.rglob("*")}
    return {path: (one.st_mtime_ns, one.st_size) for path, one in found.items()}


def page(study, seen, workers=1, height=None) -> str:
    left = Pace(study).left(seen, workers)
    return "\n".join(line.text for line in screen.lines(study, seen, left, height))


# --- What is there --------------------------------------------------------------------------------


def test_a_study_that_is_not_begun(study, tmp_path):
    before = tree(tmp_path)
    seen = look(study)
    assert not seen.finished and not seen.trainings and not seen.snakemake
    said = page(study, seen)
    assert "0 of 9 rounds  0 %" in said and "3 not begun" in said
    assert "time left: not known before the first epochs" in said and "nothing yet" in said
    assert tree(tmp_path) == before


def test_rounds_are_those_of_this_config_and_code(study):
    quick, other, slow = paths(study)
    leave(study, quick, 0)
    leave(study, quick, 1)
    leave(study, slow, 0)
    wrong = replace(study.round_spec(study.chains[other], 0), seed=7)
    write_metrics(Path(study.layout.round(other, 0).facts), metrics(wrong))
    leave(study, other, 1)  # made from the wrong one
    seen = look(study)
    assert [(len(seen.rounds[p]), sum(r.fits for r in seen.rounds[p])) for p in paths(study)] == [
        (2, 2), (2, 0), (1, 1),
    ]  # fmt: skip
    assert (len(seen.finished), seen.outdated) == (3, 2)
    assert "3 of 9 rounds" in page(study, seen)
    assert "2 rounds are of another config or code" in page(study, seen)


def test_a_shared_dense_round_is_one_training(study):
    config = study.config.to_dict()
    config["experiments"][0]["criterion"] = ["random", "magnitude"]
    study = Study.of(validation.validate(config))
    random, other, *_ = study.chains
    dense = study.chains[random].dense_path
    assert other == dense  # the usual chain's, but the first to have it is not that one
    aside = begin(study, dense, 0, "".join(EPOCH.format(n) for n in range(1, 11)))
    with locks.alone(aside.lock):
        seen = look(study)
    assert [(t.chain, t.round, t.epoch) for t in seen.trainings] == [(random, 0, 10)]
    assert "0 of 13 rounds" in page(study, seen)  # of 5 chains of 3 rounds, two pairs share one
    (running,) = Pace(study).left(seen, 1).trainings
    assert running == random
    leave(study, random, 0)
    seen = look(study)
    assert [len(seen.rounds[path]) for path in study.chains] == [1, 1, 0, 0, 0]
    assert len(seen.finished) == 1 and "1 of 13 rounds" in page(study, seen)
    assert Pace(study).left(seen, 1).rounds == 12
    leave(study, random, 1)
    seen = look(study)
    assert [len(seen.rounds[path]) for path in study.chains][:2] == [2, 1]


def test_a_round_that_waits_to_be_fetched_is_done(study):
    quick, *_ = paths(study)
    leave(study, quick, 0)
    aside = begin(study, quick, 1)
    spec = study.round_spec(study.chains[quick], 1)
    write_metrics(aside.metrics(1), metrics(spec))
    assert [len(look(study).rounds[path]) for path in paths(study)] == [2, 0, 0]


def test_damaged_metrics_are_named(study):
    quick, *_ = paths(study)
    leave(study, quick, 0)
    damaged = leave(study, quick, 1)
    damaged.write_bytes(damaged.read_bytes()[:100])
    seen = look(study)
    assert len(seen.finished) == 1 and seen.unreadable == (str(damaged),)
    assert f"{damaged}  is damaged" in page(study, seen)


def test_only_what_has_changed_is_read_again(study, monkeypatch):
    quick, other, _slow = paths(study)
    for number in range(3):
        leave(study, quick, number)
    leave(study, other, 0)
    read = []
    really = Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", lambda self: read.append(self) or really(self))
    watch = Watch(study, clock=lambda: NOW)
    assert len(watch.look().finished) == 4 and len(read) == 4
    assert len(watch.look().finished) == 4 and len(read) == 4
    leave(study, other, 1)
    assert len(watch.look().finished) == 5 and len(read) == 5
    # A job makes a round of a finished chain anew: it takes the claim, then the files change.
    begin(study, quick, 1)
    Path(study.layout.round(quick, 1).facts).unlink()
    assert len(watch.look().rounds[quick]) == 1
    leave(study, quick, 1, NOW + 1)
    assert len(watch.look().rounds[quick]) == 3


# --- What runs ------------------------------------------------------------------------------------


def test_a_line_of_the_log_is_what_a_training_writes(study):
    from sdd.rounds.round import _report

    quick, *_ = paths(study)
    for clean in (55.1, None):
        lines = []
        _report(lines.append, 40, Epoch(16, 0.05, 1.2345, 61.2, clean))
        aside = begin(study, quick, 0, f"goes on after epoch 7, from a file\n{lines[0]}\n")
        aside.lock.touch()
        (training,) = look(study).trainings
        assert (training.epoch, training.epochs, training.loss) == (17, 40, 1.2345)
        assert (training.accuracy, training.clean_accuracy) == (61.2, clean)
        assert training.epoch_s == 2.0  # ten epochs in 20 s: seven are of an earlier run
        aside.metrics(0).parent.rmdir()


def test_a_line_that_is_half_written_does_not_count(study):
    quick, *_ = paths(study)
    begin(study, quick, 0, EPOCH.format(3) + EPOCH.format(4)[:30]).lock.touch()
    assert [training.epoch for training in look(study).trainings] == [3]


@pytest.mark.skipif(not Path("/proc/locks").exists(), reason="only Linux tells who holds a lock")
def test_who_holds_a_lock_is_seen_without_taking_it(study):
    quick, *_ = paths(study)
    aside = begin(study, quick, 0, EPOCH.format(3), wrote=NOW - 9999)
    Path(layout.RUN_LOCK).parent.mkdir()
    watch = Watch(study, clock=lambda: NOW)
    with locks.alone(aside.lock):
        assert held_locks.inode(aside.lock) in held_locks.held()
        (training,) = watch.look().trainings
        assert training.state == "orphaned" and training.lives
        with locks.hold(Path(layout.RUN_LOCK)):
            seen = watch.look()
            assert seen.snakemake and [t.state for t in seen.trainings] == ["running"]
            assert "snakemake runs on this machine" in page(study, seen)
    assert watch.look().trainings == ()  # nothing holds it, and nothing went wrong


@pytest.mark.parametrize(
    ("log", "ago", "locked", "state", "said"),
    [
        (EPOCH.format(3), 100, True, "elsewhere", "not seen on this machine, wrote 1.7 min ago"),
        (EPOCH.format(3), 1000, True, "quiet", "quiet: killed, or held up after epoch 3/40, wrote"),
        ("", 500, True, "elsewhere", ""),
        (EPOCH.format(3) + "error: no memory\n", 10, False, "failed", "failed: no memory"),
        ("Traceback (most ...):\n  File\nKeyError: 'x'\n", 10, False, "failed", "KeyError: 'x'"),
        (EPOCH.format(3) + "interrupted after epoch 3\n", 10, False, "interrupted", "epoch 3"),
        ("stops after epoch 3: why\nerror: why\n", 10, False, "interrupted", "epoch 3: why"),
        (EPOCH.format(3), 10, False, None, "not begun"),
    ],
)
def test_how_a_training_is(study, log, ago, locked, state, said):
    quick, *_ = paths(study)
    aside = begin(study, quick, 0, log, began=NOW - ago - 20, wrote=NOW - ago)
    if locked:
        aside.lock.touch()
    seen = look(study)
    assert [training.state for training in seen.trainings] == ([state] if state else [])
    assert said in page(study, seen)


def test_other_jobs_that_failed_are_named(study):
    (labels,) = study.by_labels
    log = Path(study.layout.labels(labels).log)
    log.parent.mkdir(parents=True)
    log.write_text("error: there is no such data set\n")
    assert f"labels {labels}  failed: there is no such data set" in page(study, look(study))
    Path(study.layout.labels(labels).facts).parent.mkdir(parents=True)
    Path(study.layout.labels(labels).facts).write_text("{}")
    assert look(study).failures == ()


# --- Time left and energy -------------------------------------------------------------------------


def evaluation(study, seconds) -> float:
    """A forward pass is a third of a step, and a dense step tells what it takes."""
    return (3500 + 500 + 1000) * seconds / 40 / 3500 / 3


def test_time_left_is_by_model_and_sparsity_and_not_by_jobs(study):
    quick, _other, slow = paths(study)
    for number, seconds in enumerate((40.0, 20.0, 10.0)):
        leave(study, quick, number, seconds=seconds)
    leave(study, slow, 0, seconds=4000.0)
    left = Pace(study).left(look(study), 1)
    # The other quick chain as the first, round by round; the slow one as its own dense round.
    trained = 40 + 20 + 10 + 2 * 4000
    evaluated = 3 * evaluation(study, 40) + 2 * evaluation(study, 4000)
    assert left.rounds == 5 and not left.unknown
    assert left.seconds == pytest.approx(trained + evaluated)
    # Side by side the slow chain decides.
    assert Pace(study).left(look(study), 2).seconds == pytest.approx(
        2 * (4000 + evaluation(study, 4000))
    )


def test_between_known_sparsities_it_is_interpolated(study):
    quick, _other, slow = paths(study)
    leave(study, quick, 0, seconds=40.0)
    leave(study, slow, 0, seconds=0.001)
    assert Pace(study).left(look(study), 1).seconds == pytest.approx(
        5 * (40 + evaluation(study, 40)), rel=1e-3
    )


def test_a_model_of_which_nothing_is_done_is_not_counted_and_named(study):
    quick, *_ = paths(study)
    leave(study, quick, 0, seconds=40.0)
    seen = look(study)
    assert Pace(study).left(seen, 1).unknown == {"my-net": 3}
    assert "not counted, none being done: 3 of my-net" in page(study, seen)


def test_a_running_training_tells_its_own_pace(study):
    _quick, _other, slow = paths(study)
    begin(study, slow, 0, EPOCH.format(10), began=NOW - 100).lock.touch()
    left = Pace(study).left(look(study), 1)
    assert left.unknown == {"lenet-300-100": 6}
    own = evaluation(study, 400)
    assert left.trainings[slow] == pytest.approx(300 + own)
    assert left.seconds == pytest.approx(300 + 2 * 400 + 3 * own)


def test_what_jobs_take_besides_their_training_counts(study):
    quick, _other, slow = paths(study)
    each = 5.0 + evaluation(study, 5) + 3.0  # one after the other, each with 3 s besides
    for turn, (path, number) in enumerate([(quick, 0), (quick, 1), (slow, 0), (slow, 1)]):
        leave(study, path, number, NOW + turn * each, seconds=5.0)
    left = Pace(study).left(look(study), 1)
    tables_and_figures = left.seconds - 5 * each
    assert 0 < tables_and_figures < 20 * 3.0 * (1 + ENGINE)
    # A night between two of them is none of it.
    for number in range(2):
        leave(study, slow, number, NOW + 9e4 + (2 + number) * each, seconds=5.0)
    assert Pace(study).left(look(study), 1).seconds == pytest.approx(left.seconds)


def test_energy_that_was_not_measured_is_not_nought(study):
    quick, *_ = paths(study)
    leave(study, quick, 0)
    assert "energy: 0.0 Wh" in page(study, look(study))
    unknown = replace(metrics(study.round_spec(study.chains[quick], 1)).energy, energy_kwh=None)
    leave(study, quick, 1, energy=unknown)
    assert "without 1 rounds that were not measured" in page(study, look(study))


def test_rounds_that_early_stopping_left_out_say_nothing_of_time(study):
    quick, _other, _slow = paths(study)
    leave(study, quick, 0, seconds=40.0)
    leave(study, quick, 1, validation=None, seconds=0.0)
    leave(study, quick, 2, validation=None, seconds=0.0)
    seen = look(study)
    assert "ended early after round 00" in page(study, seen)
    expected = 3 * (40 + evaluation(study, 40))
    assert Pace(study).left(seen, 1).seconds == pytest.approx(expected)


# --- The screen -----------------------------------------------------------------------------------


def test_a_small_terminal_says_what_it_leaves_out(study):
    quick, other, _slow = paths(study)
    leave(study, quick, 0)
    begin(study, other, 0, EPOCH.format(3) + "error: a long story " + 50 * "x" + "\n")
    seen = look(study)
    left = Pace(study).left(seen, 1)
    whole = screen.lines(study, seen, left)
    for height in range(1, len(whole) + 3):
        fitted = screen.lines(study, seen, left, height)
        assert len(fitted) <= height
        hidden = [line for line in whole if line not in fitted and line.text]
        assert not hidden or height < 8 or any("more" in line.text for line in fitted)
    assert screen.lines(study, seen, left, len(whole)) == whole
    for width in (1, 20, 40, 200):
        cut = screen.text(whole, width, colours=False)
        assert all(len(line) <= max(width, 20) for line in cut)
    assert "\033" not in "".join(screen.text(whole, 80, colours=False))
    assert "\033[31m" in "".join(screen.text(whole, 80, colours=True))


# --- The command ----------------------------------------------------------------------------------


def test_once_in_the_folder_of_a_finished_study(finished, tmp_path):
    before = tree(finished.folder / "results")
    said = finished.sdd("watch", *SMOKE, "--once")
    assert "16 of 16 rounds  100 %" in said and "every round is done" in said and "\033" not in said
    assert "4 done, 0 begun, 0 not begun" in said and "went wrong" not in said
    assert tree(finished.folder / "results") == before
    overlay = finished.folder / SMOKE[1]
    elsewhere = subprocess.run(
        [sys.executable, "-m", "sdd", "watch", "--configfile", overlay, "--directory",
         finished.folder],
        cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(finished.folder)},
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    assert elsewhere.splitlines()[1:] == said.splitlines()[1:]


def test_a_folder_that_is_none_is_named(finished):
    said = finished.sdd("watch", "--directory", "nowhere", fails=True)
    assert "error: --directory nowhere: No such file or directory" in said


@pytest.mark.parametrize("ended_by", [signal.SIGINT, signal.SIGTERM])
def test_in_a_terminal_it_goes_on_until_it_is_interrupted(finished, ended_by):
    child, terminal = pty.fork()
    if child == 0:
        os.chdir(finished.folder)
        # Given whole: readline puts COLUMNS and LINES, which go first, behind Python's back.
        environment = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "LINES")}
        command = [sys.executable, "-m", "sdd", "watch", *SMOKE]
        os.execve(sys.executable, command, environment | {"TERM": "xterm", "NO_COLOR": "1"})
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 9, 40, 0, 0))
    said, deadline = b"", time.monotonic() + 60
    try:
        while time.monotonic() < deadline:
            if select.select([terminal], [], [], 0.2)[0]:
                try:
                    said += os.read(terminal, 65536)
                except OSError:  # it has ended
                    break
            if said.count(b"\033[H") == 2 and said.endswith(b"\033[J"):
                os.kill(child, ended_by)
    finally:
        os.close(terminal)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    shown, _, after = said.partition(b"\033[?1049h")[2].partition(b"\033[?1049l")
    screens = shown.split(b"\033[H")[1:]
    assert all(one.count(b"\n") <= 8 for one in screens)
    assert max(len(line) for one in screens for line in one.split(b"\033[K\r\n")) <= 40
    assert b"every round is done" in after and b"\033[?25h" in shown
