"""Which labels a chain gets: label noise, the hold-out, and the specs of jobs that make them."""

from dataclasses import dataclass, replace
from typing import Any, Literal

from sdd.base.fields import STRICT, ProperShare, Rate, setting
from sdd.base.records import from_dict, to_dict


@dataclass(frozen=True)
class Noise:
    """How training labels are corrupted: a proportion `rate` of them, in [0, 1), by a rule.

    Human noise has no rate to set; `labels` names which of the people's labels are taken.
    """

    kind: str
    rate: Rate = 0.0
    labels: str | None = None

    @property
    def name(self) -> str:
        """As it stands in paths: symmetric-0.4, human-worse, clean."""
        if self.labels:
            return f"{self.kind}-{self.labels}"
        return f"{self.kind}-{self.rate:g}" if self.rate else self.kind


@dataclass(frozen=True)
class Validation:
    """The part of the training set that is held out for choosing, never trained on."""

    __pydantic_config__ = STRICT

    fraction: ProperShare = setting(
        "Proportion of the training set held out, stratified by class, in (0, 1).", 0.1
    )
    labels: Literal["clean", "noisy"] = setting(
        "Labels of the validation set, clean (held out before the noise is put in) or noisy.",
        "clean",
    )


@dataclass(frozen=True)
class DatasetSpec:
    """Everything that a prepared data set depends on: what it is, never where its files lay."""

    dataset: str
    own: bool = False  # the user's own
    image_size: int | None = None  # to which images of a folder are scaled
    content: str | None = None  # its sha256
    code: str | None = None

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "DatasetSpec":
        return from_dict(cls, values)

    def to_dict(self) -> dict[str, Any]:
        return {key: value for key, value in to_dict(self).items() if value is not None}


@dataclass(frozen=True)
class LabelsSpec:
    """Everything that a chain's labels depend on, beside the data set's file."""

    noise: Noise
    validation: Validation
    seed: int
    subset: int | None = None  # only so many of the training images
    dataset: str | None = None  # its name; None where any will do
    code: str | None = None

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "LabelsSpec":
        return from_dict(cls, values)

    def to_dict(self) -> dict[str, Any]:
        return {key: value for key, value in to_dict(self).items() if value is not None}

    def differs(self, other: "LabelsSpec") -> list[str]:
        """What tells the labels of `other` from these. The code may differ: the workflow has
        compared it, if it was asked to."""
        mine, its = (replace(spec, code=None).to_dict() for spec in (self, other))
        return [key for key in {**mine, **its} if mine.get(key) != its.get(key)]
