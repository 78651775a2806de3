"""A job whose run is gone, or whose place another has taken, must not deliver."""

import os
import subprocess
import sys
import time

import pytest
from conftest import ROOT

from sdd.base.ownership import RUN, Claim, Run

on_linux = pytest.mark.skipif(not os.path.exists("/proc/self/stat"), reason="watches by /proc")

# A run starts a shell, which starts a job, as snakemake does.
JOB = """
import os, sys, time
from sdd.base.ownership import Run
run = Run.of_this_job()
print(os.getpid(), "watches" if run.pid else "knows nothing", flush=True)
while not run.gone:
    time.sleep(0.01)
open(sys.argv[1], "w").write("gone")
"""
RUNNER = """
import os, subprocess, sys
job = 'echo; {} -c "$1" "$2"; true'.format(sys.executable)
environment = os.environ | {"SDD_RUN": str(os.getpid())}
subprocess.run(["bash", "-c", job, "job", *sys.argv[1:]], env=environment)
"""


@on_linux
def test_a_job_notices_that_its_run_was_killed(tmp_path):
    run = subprocess.Popen(
        [sys.executable, "-c", RUNNER, JOB, str(tmp_path / "noticed")],
        cwd=ROOT, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        run.stdout.readline()
        assert run.stdout.readline().endswith("watches\n")
        time.sleep(0.1)
        assert not (tmp_path / "noticed").exists()
    finally:
        run.kill()
        run.wait()
        run.stdout.close()
    deadline = time.monotonic() + 10
    while not (tmp_path / "noticed").exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize(
    "named", [None, "", "no number", "999999999", str(os.getpid())], ids=range(5)
)
def test_of_a_run_that_is_no_ancestor_nothing_is_known(monkeypatch, named):
    """As in a container, where numbers mean other processes: such a job never stops itself."""
    monkeypatch.delenv(RUN, raising=False)
    if named is not None:
        monkeypatch.setenv(RUN, named)
    assert Run.of_this_job() == Run() and not Run.of_this_job().gone


def test_who_claims_last_has_the_right(tmp_path):
    first = Claim.taken(tmp_path / "place")
    assert not first.lost
    second = Claim.taken(tmp_path / "place")
    assert first.lost and not second.lost
    first.give_up()
    assert not second.lost
    second.give_up()
    assert second.lost and not list(tmp_path.iterdir())
