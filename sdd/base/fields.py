"""Fields of a config: each says what it means and what it may be, where it is declared.

Pydantic reads this where a config is checked and its schema exported; jobs, which get values that
were checked, read the same classes without it.
"""

import dataclasses
from typing import Annotated, Any

from annotated_types import Ge, Gt, Le, Lt, MaxLen

# What no sensible setting exceeds, so that a slip of the keyboard is told from a wish. Every number
# has such a bound, and its description says it; so have texts, lists and dictionaries.
MOST_LISTED = 1000  # values in a list, or entries in a dictionary
WeightDecay = Annotated[float, Ge(0), Le(1000)]
Share = Annotated[float, Ge(0), Le(1)]
ProperShare = Annotated[float, Gt(0), Lt(1)]
Rate = Annotated[float, Ge(0), Lt(1)]
Seed = Annotated[int, Ge(0), Le(2**63 - 1)]
Text = Annotated[str, MaxLen(4096)]  # a path

# Unknown keys are errors, and 1 is no truth value; everything is what it says.
STRICT = {"extra": "forbid", "strict": True, "allow_inf_nan": False}


def setting(
    description: str,
    default: Any = dataclasses.MISSING,
    *,
    run: bool = False,
    axis: bool = False,
    **schema: Any,
) -> Any:
    """A field with one value; `schema` is added to its JSON schema.

    `run`: no result depends on it. `axis`: of a grid, a tuple; a config may give one value.
    """
    metadata: dict[str, Any] = {"description": description, "run": run, "axis": axis}
    if schema:
        metadata["json_schema_extra"] = schema
    if isinstance(default, (dict, list)) or dataclasses.is_dataclass(default):
        return dataclasses.field(default_factory=lambda: default, metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


def axis(description: str, default: Any = dataclasses.MISSING, **schema: Any) -> Any:
    """A field of a grid, a tuple: a config gives it one value, or a list of them."""
    return setting(description, default, axis=True, **schema)
