"""Frozen dataclasses as plain dictionaries and back: so they travel between jobs and are stored."""

from typing import Any, TypeVar

import msgspec

Record = TypeVar("Record")


def to_dict(record: Any) -> dict[str, Any]:
    """As JSON has it: nested records become dictionaries, tuples lists."""
    return _listed(msgspec.to_builtins(record, str_keys=True))


def from_dict(kind: type[Record], value: dict[str, Any]) -> Record:
    """The record of this `kind`. Raises ValueError, saying where, for what it cannot be made of."""
    return msgspec.convert(value, kind, str_keys=True)


def _listed(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _listed(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_listed(item) for item in value]
    return value
