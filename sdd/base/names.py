"""Functions that are known by name, as `module:function`: found when they are needed.

What is found so is no import: whoever builds a spec adds the module to the job's code.
"""

from importlib import import_module
from typing import Any


def load(function: str) -> Any:
    """The function that `module:function` names."""
    module, _, name = function.partition(":")
    return getattr(import_module(module), name)


def module(function: str) -> str:
    """The module that it lies in, as named in an import."""
    return function.partition(":")[0]
