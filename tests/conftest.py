"""What several tests share: the shipped configs, and a folder with the workflow in it."""

import copy
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

# As in a job: one thread, whatever else runs on this machine. Read when torch is imported.
os.environ["OMP_NUM_THREADS"] = "1"

ROOT = Path(__file__).parent.parent


def merge(base: dict[str, Any], overlay: dict[str, Any]) -> dict[str, Any]:
    """As Snakemake merges config files: dictionaries merge, everything else is replaced."""
    merged = dict(base)
    for key, value in overlay.items():
        both = isinstance(value, dict) and isinstance(base.get(key), dict)
        merged[key] = merge(base[key], value) if both else value
    return merged


@pytest.fixture(scope="session")
def embedded() -> dict[str, Any]:
    """The config of the embedded study."""
    return yaml.safe_load((ROOT / "config.yaml").read_text())


@pytest.fixture
def config(embedded) -> dict[str, Any]:
    """A copy of it, to be changed by a test."""
    return copy.deepcopy(embedded)


class Workflow:
    """A copy of the workflow in a folder of its own, and snakemake run on it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("Snakefile", "config.yaml", "workflow", "sdd", "envs"):
            copied = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
            copied(ROOT / name, folder / name)

    def snakemake(
        self, *arguments: str, fails: bool = False, timeout: float = 240
    ) -> subprocess.CompletedProcess[str]:
        """Runs snakemake on two cores; its outcome must be as expected."""
        done = subprocess.run(
            [sys.executable, "-m", "snakemake", "--cores", "2", *arguments],
            cwd=self.folder,
            env=os.environ | {"PYTHONWARNINGS": "default"},
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=timeout,
        )
        assert (done.returncode != 0) == fails, done.stdout
        return done

    def planned(self, *arguments: str) -> set[str]:
        """What a dry run would do: each job's message, such as "Figure figure3_l2"."""
        lines = self.snakemake("--dry-run", *arguments).stdout.splitlines()
        jobs = (line.partition(": ") for line in lines if line.startswith("Job "))
        return {message for _, _, message in jobs}


@pytest.fixture
def workflow(tmp_path) -> Workflow:
    return Workflow(tmp_path)
