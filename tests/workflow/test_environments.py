"""The pinned environments: in step with the project's own ranges, and complete."""

import re
import tomllib

import yaml
from conftest import ROOT

LOCK = dict(
    line.split("==")
    for line in (ROOT / "envs/requirements.txt").read_text().splitlines()
    if "==" in line and not line.startswith("#")
)
LOCK = {name.lower().replace("_", "-"): pin for name, pin in LOCK.items()}


def needed(*extras: str) -> dict[str, str]:
    """Lines of pyproject.toml by package: what every job needs, and what these extras add."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = sum((project["optional-dependencies"][e] for e in extras), project["dependencies"])
    return {re.match(r"[\w-]+", line)[0].lower(): line for line in lines}


def numbers(version: str) -> list[int]:
    return [int(n) for n in re.findall(r"\d+", version)]


def test_the_lock_has_every_dependency_within_its_range():
    for name, line in needed("deploy", "dev", "slurm").items():
        lowest = re.search(r">=([\d.]+)", line)[1]
        assert numbers(LOCK[name]) >= numbers(lowest), line


def test_the_lock_names_no_address():
    text = (ROOT / "envs/requirements.txt").read_text()
    assert "://" not in text and " @ " not in text and "--" not in text


def test_conda_has_the_same_versions():
    (pip,) = (
        d["pip"]
        for d in yaml.safe_load((ROOT / "envs/sdd.yaml").read_text())["dependencies"]
        if isinstance(d, dict)
    )
    for line in pip:
        name, version = line.split("==")
        assert LOCK[name.lower()] == version
    assert needed("deploy").keys() <= {line.split("==")[0].lower() for line in pip}
