"""The spec of collecting: what rounds.csv depends on beside its input files.

Apart from the specs of trainings (`sdd.study.specs`), whose code each training counts as its own.
"""

from dataclasses import dataclass, field
from typing import Any

from sdd.base.records import from_dict, to_dict
from sdd.data.datasets import Dataset


@dataclass(frozen=True)
class CollectSpec:
    """`config` is the part of a study's config that decides which chains exist; `datasets` are
    those that stand in it, without their places."""

    config: dict[str, Any]
    carbon_intensity: float | None  # g CO2 a kWh; None: what each energy reading assumed
    datasets: dict[str, Dataset] = field(default_factory=dict)
    code: str | None = None

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "CollectSpec":
        return from_dict(cls, values)

    def to_dict(self) -> dict[str, Any]:
        return to_dict(self)
