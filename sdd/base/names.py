"""Functions that are known by name, as `module:function`: found when they are needed.

What is found so is no import: whoever builds a spec adds the module to the job's code.
"""

from collections.abc import Iterable
from importlib import import_module
from typing import Any


def load(function: str) -> Any:
    """The function that `module:function` names."""
    module, _, name = function.partition(":")
    return getattr(import_module(module), name)


def listed(names: Iterable[str], most: int = 240) -> str:
    """The names, as many as `most` letters hold, for a message; and how many there are more."""
    every = list(names)
    shown: list[str] = []
    for name in every:
        if shown and sum(map(len, shown)) + 2 * len(shown) + len(name) > most:
            return f"{', '.join(shown)} and {len(every) - len(shown):,} more"
        shown.append(name[:most])
    return ", ".join(shown)


def module(function: str) -> str:
    """The module that it lies in, as named in an import."""
    return function.partition(":")[0]
