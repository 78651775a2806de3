"""What is imported where: planning a study must not wait for torch, nor a job for pydantic."""

import subprocess
import sys

import pytest
from conftest import ROOT

from sdd.__main__ import STAGES

HEAVY = ("torch", "pandas", "numpy")


def loaded(module: str) -> set[str]:
    """The packages that are there once `module` is imported."""
    code = f"import {module}, sys; print(*{{name.split('.')[0] for name in sys.modules}})"
    return set(subprocess.check_output([sys.executable, "-c", code], cwd=ROOT, text=True).split())


def modules(room: str) -> list[str]:
    return [f"sdd.{room}.{path.stem}" for path in sorted((ROOT / "sdd" / room).glob("[!_]*.py"))]


@pytest.mark.parametrize(
    "module",
    [
        *modules("base"), *modules("study"), "sdd.models.names",
        *(m for m in modules("planning") if m != "sdd.planning.workers"),
        "sdd.data.datasets", "sdd.data.noise_kinds", "sdd.data.settings", "sdd.machine.devices",
        *(f"sdd.deployment.{name}" for name in ("facts", "jobs", "packages", "specs")),
        "sdd.report.catalogue", "sdd.rounds.segment", "sdd.__main__",
    ],
)  # fmt: skip
def test_what_plans_or_adopts_imports_nothing_that_computes(module):
    assert not loaded(module) & set(HEAVY)


@pytest.mark.parametrize("stage", STAGES)
def test_no_job_imports_pydantic(stage):
    assert "pydantic" not in loaded(f"sdd.stages.{stage}")


def test_only_the_jobs_that_compute_import_torch():
    with_torch = {stage for stage in STAGES if "torch" in loaded(f"sdd.stages.{stage}")}
    assert with_torch == {"teacher_logits"}  # a training imports it once it has to train


def test_the_packages_export_nothing():
    """An __init__ that imports widens what every stage depends on."""
    for path in (ROOT / "sdd").rglob("__init__.py"):
        assert not path.read_text("utf-8").strip(), path
