"""The specs of a table or figure and of the page: what they depend on beside their input files."""

from dataclasses import dataclass
from typing import Any

from sdd.base.records import from_dict, to_dict
from sdd.study.settings import EarlyStopping


@dataclass(frozen=True)
class ReportSpec:
    """Of the config only what the entry of the catalogue says that the builder uses.

    The builder, "module:function", stands here so that the job needs no catalogue: a new entry
    draws nothing but itself.
    """

    name: str
    builder: str
    study: str | None = None  # None: of whatever study the rounds are
    early_stopping: EarlyStopping | None = None
    palette: str | None = None
    code: str | None = None

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "ReportSpec":
        return from_dict(cls, values)

    def to_dict(self) -> dict[str, Any]:
        return {key: value for key, value in to_dict(self).items() if value is not None}


@dataclass(frozen=True)
class HtmlReportSpec:
    """What the report that shows everything depends on beside tables and figures: the sha256 of
    the study's config, and of each caption by name."""

    config_checksum: str
    captions: dict[str, str]
    code: str | None = None

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "HtmlReportSpec":
        return from_dict(cls, values)

    def to_dict(self) -> dict[str, Any]:
        return to_dict(self)


@dataclass(frozen=True)
class PageSpec:
    """Of the page on which one explores a study. `files` is the sha256 of its scripts and styles,
    which are code that no import tells of."""

    early_stopping: EarlyStopping
    files: str | None = None
    code: str | None = None

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "PageSpec":
        return from_dict(cls, values)

    def to_dict(self) -> dict[str, Any]:
        return to_dict(self)
