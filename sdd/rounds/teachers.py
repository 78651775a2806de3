"""The network that teaches a student: a round of another chain, or one from outside.

Imports no torch.
"""

from dataclasses import dataclass
from pathlib import Path

from sdd.base import layout
from sdd.base.errors import DataError
from sdd.base.files import read_record
from sdd.study.metrics import Macs, OutsideFacts, read_metrics
from sdd.study.settings import Passes, Recipe
from sdd.study.specs import TeacherSpec


@dataclass(frozen=True)
class Network:
    """What is known of a network whose weights are there, whoever trained it."""

    chain: str  # its path; of one from outside, its place
    round: int | None  # None: from outside
    model: str
    build: str | None
    seed: int
    computes: Recipe | Passes
    macs: Macs
    weights_sha256: str
    content: str | None = None  # of one from outside: the sha256 of the file that was adopted


def read_network_facts(path: Path) -> Network:
    """Of the network whose weights lie beside `path`, the metrics of a round or the facts on a
    teacher from outside. Raises DataError, naming the file, where it is missing or damaged."""
    if path.name == layout.OUTSIDE:
        facts = read_record(path, OutsideFacts)
        spec = facts.spec
        return Network(
            spec.place, None, spec.model, spec.build, 0, Passes(), facts.macs,
            facts.weights_sha256, spec.content,
        )  # fmt: skip
    metrics = read_metrics(path)
    trained = metrics.spec
    return Network(
        trained.chain, metrics.round, trained.model, trained.build, trained.seed, trained.recipe,
        metrics.macs, metrics.weights_sha256,
    )  # fmt: skip


def check_teacher(path: Path, spec: TeacherSpec) -> Network:
    """What is known of the teacher at `path`. Raises DataError unless `spec` may mean it."""
    found = read_network_facts(path)
    right = found.content == spec.content and spec.holds(found.chain, found.round or 0)
    if found.round is None:
        ended, of = False, f"the teacher from outside at {found.chain}"
    else:
        right = right and (spec.which != "dense" or found.round == 0)
        ended, of = read_metrics(path).ended is not None, f"round {found.round} of {found.chain}"
    if ended or not right:
        raise DataError(
            f"{path} is of {of}, which is not the {spec.which} teacher from {spec.chain}. Delete "
            "it and run snakemake again."
        )
    return found
