"""Locks between processes: one at a time, nobody locked out by the dead."""

import os
import signal
import subprocess
import sys
from pathlib import Path

from conftest import ROOT

from sdd.base import locks

COUNTING = """
import sys, time
from pathlib import Path
from sdd.base import locks

counter, lock = Path("counter"), Path("locks/chain.lock")
for _ in range(int(sys.argv[1])):
    with locks.alone(lock):
        number = int(counter.read_text())
        time.sleep(0.002)
        counter.write_text(str(number + 1))
"""
HOLDING = """
import sys
from pathlib import Path
from sdd.base import locks

held = locks.hold(Path("study.lock"))
print("no" if held is None else "yes", flush=True)
sys.stdin.read()
"""


def python(program: str, folder: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", program, *arguments],
        cwd=folder, env={"PYTHONPATH": str(ROOT)}, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip


def test_many_processes_are_in_there_one_at_a_time(tmp_path):
    (tmp_path / "counter").write_text("0")
    processes = [python(COUNTING, tmp_path, "100") for _ in range(6)]
    try:
        for process in processes:
            process.communicate(timeout=60)
            assert process.returncode == 0
    finally:
        for process in processes:
            process.kill()
    assert (tmp_path / "counter").read_text() == "600"
    assert list((tmp_path / "locks").iterdir()) == []


def test_an_error_inside_lets_the_next_one_in(tmp_path):
    lock = tmp_path / "chain.lock"
    for _ in range(2):
        try:
            with locks.alone(lock):
                raise ValueError
        except ValueError:
            pass
    assert not lock.exists()


def test_what_one_process_holds_another_does_not_get_until_it_dies(tmp_path):
    first = python(HOLDING, tmp_path)
    assert first.stdout.readline() == "yes\n"
    second = python(HOLDING, tmp_path)
    assert second.communicate()[0] == "no\n"
    assert locks.hold(tmp_path / "study.lock") is None
    first.send_signal(signal.SIGKILL)
    first.communicate()
    held = locks.hold(tmp_path / "study.lock")
    assert held is not None
    held.close()
    locks.hold(tmp_path / "study.lock").close()


def test_who_waits_is_told_once(tmp_path):
    lock = tmp_path / "chain.lock"
    told = []
    with locks.alone(lock, lambda: told.append("nobody")):
        holder = python(HOLDING.replace("study.lock", "other.lock"), tmp_path)
        assert holder.stdout.readline() == "yes\n"
    assert told == []

    def free() -> None:
        told.append("waits")
        holder.communicate("", timeout=30)

    with locks.alone(tmp_path / "other.lock", free):
        assert told == ["waits"]


def test_what_is_no_file_of_a_maker_is_left_alone(tmp_path):
    os.mkfifo(tmp_path / "pipe.job")  # whoever opens it to read would wait for ever
    (tmp_path / "link.job").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "folder.job").mkdir()
    assert locks.living(tmp_path, "*.job") == []
    assert len(list(tmp_path.iterdir())) == 3
