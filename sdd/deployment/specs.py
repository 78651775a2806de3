"""The specs of deployment: what its jobs depend on beside their input files.

Apart from the specs of trainings (`sdd.study.specs`), whose code each training counts as its own.
"""

from dataclasses import dataclass
from typing import Any

from sdd.base.records import from_dict, to_dict
from sdd.data.settings import LabelsSpec
from sdd.study.settings import EarlyStopping


@dataclass(frozen=True)
class DeploySpec:
    """Which rounds of a chain become deployed models, and how long each is measured."""

    study: str
    chain: str
    dense_chain: str  # under whose path its dense round lies
    rounds: tuple[str, ...]  # by what they are to the chain: see sdd.deployment.selection
    labels: LabelsSpec
    seconds: float
    early_stopping: EarlyStopping | None = None  # the rule, where one of the rounds depends on it
    code: str | None = None

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "DeploySpec":
        return from_dict(cls, values)

    def to_dict(self) -> dict[str, Any]:
        return to_dict(self) | {"labels": self.labels.to_dict()}


@dataclass(frozen=True)
class DeploymentsSpec:
    """The table of all deployed models of a study."""

    study: str
    carbon_intensity: float | None  # g CO2 a kWh; None: what each energy reading assumed
    code: str | None = None

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "DeploymentsSpec":
        return from_dict(cls, values)

    def to_dict(self) -> dict[str, Any]:
        return to_dict(self)
