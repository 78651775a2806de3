"""Checks a config key by key against the classes of `sdd.study.config`, and exports their schema.

Only Snakemake's process and people's commands import this, and with it pydantic; no job does.
"""

import json
import math
import re
from collections.abc import Collection, Iterator
from dataclasses import fields, is_dataclass
from difflib import get_close_matches
from functools import cache
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

from pydantic import TypeAdapter, ValidationError

from sdd.base import fingerprint
from sdd.base.errors import StudyError
from sdd.base.fields import MOST_LISTED
from sdd.base.names import listed
from sdd.models import names
from sdd.study import config as classes
from sdd.study.config import Experiment, NoiseGrid, StudyConfig, TeacherGrid

Path = tuple[str | int, ...]
LONGEST = 100  # characters of a value in a message
DEEPEST = 12  # keys and positions, one in another; twice as many as any key has


def validate(config: dict[str, Any], from_command_line: Collection[str] = ()) -> StudyConfig:
    """The config as its classes have it: numbers of one kind, single values of a grid as lists.

    `from_command_line` are the top-level keys that came with --config. Raises StudyError, with the
    key, its value and what is allowed, for the worst that is wrong.
    """
    plain = _plain(config, ())
    try:
        checked = _adapter().validate_json(json.dumps(_spread(StudyConfig, plain, ())))
    except ValidationError as error:
        raise StudyError(_message(error, plain, from_command_line)) from None
    _check_names(checked)
    _check_models(checked)
    return checked


@cache
def _adapter() -> TypeAdapter[StudyConfig]:
    return TypeAdapter(StudyConfig)


# --- Before pydantic ---


def _plain(value: Any, path: Path) -> Any:
    """A copy in JSON's types, where -0.0 is 0."""
    if len(path) > DEEPEST:  # an anchor of YAML may even hold itself
        raise StudyError(f"{_key(path)}: nothing in a config is nested so deeply.")
    if isinstance(value, dict):
        wrong = [key for key in value if not (isinstance(key, str) and _encodes(key))]
        if wrong:
            raise StudyError(f"{_key(path)}: a key is a name, not {_shown(wrong[0])}.")
        return {key: _plain(item, (*path, key)) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item, (*path, index)) for index, item in enumerate(value)]
    if isinstance(value, str) and not _encodes(value):
        raise StudyError(f"{_key(path)}: {_shown(value)} has a letter that is none.")
    if value is None or isinstance(value, str | bool):
        return value
    if isinstance(value, int) and value.bit_length() <= 64:
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value + 0.0
    if isinstance(value, int | float):
        raise StudyError(f"{_key(path)}: {_shown(value)} is beyond every number that is allowed.")
    raise StudyError(
        f"{_key(path)}: {_shown(value)} is not what a config holds: YAML takes it for a "
        f"{type(value).__name__}. Put it in quotes if it is a text."
    )


def _encodes(text: str) -> bool:
    """Whether a file may hold it: half of a pair of surrogates, \\ud800, is no letter."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _spread(kind: Any, value: Any, path: Path) -> Any:
    """The value with each axis of a grid as a list. Raises StudyError for a list that is empty or
    has something twice."""
    kind = _inner(kind)
    if get_origin(kind) is tuple and isinstance(value, list):
        return [_spread(get_args(kind)[0], v, (*path, i)) for i, v in enumerate(value)]
    if get_origin(kind) is dict and isinstance(value, dict):
        return {name: _spread(get_args(kind)[1], v, (*path, name)) for name, v in value.items()}
    if not _holds_keys(kind) or not isinstance(value, dict):
        return value
    spread = dict(value)
    for name, (field, hint) in _fields(kind).items():
        if name not in value:
            continue
        here, axis = (*path, name), field.metadata["axis"]
        if axis and not isinstance(value[name], list):
            spread[name] = [value[name]]
        spread[name] = _spread(hint, spread[name], here)
        schema = field.metadata.get("json_schema_extra", {})
        if isinstance(value[name], list | dict) and len(value[name]) > MOST_LISTED:
            raise StudyError(
                f"{_key(here)}: {len(value[name]):,} are listed; {MOST_LISTED:,} is the limit. "
                f"{field.metadata['description']}"
            )
        if isinstance(value[name], list):
            if (axis or schema.get("minItems")) and not value[name]:
                raise StudyError(
                    f"{_key(here)}: the list is empty. {field.metadata['description']}"
                )
            if axis or schema.get("uniqueItems"):
                seen = [v for i, v in enumerate(value[name]) if v in value[name][:i]]
                if seen:
                    raise StudyError(f"{_key(here)}: {_shown(seen[0])} is listed twice.")
    return spread


# --- What pydantic finds ---


def _message(error: ValidationError, config: dict[str, Any], typed: Collection[str]) -> str:
    found = error.errors(include_url=False)
    unknown = [e for e in found if e["type"] == "unexpected_keyword_argument"]
    worst = (unknown or found)[0]
    path = _as_written(worst["loc"], config)
    kind, description = _described(path if worst["type"] != "missing" else worst["loc"])
    if unknown:
        known = list(_fields(kind)) if kind else []
        close = get_close_matches(str(path[-1]), known, 1)
        meant = f" Did you mean {close[0]}?" if close else ""
        return (
            f"{_key(path[:-1])}: there is no key {_shown(path[-1])}.{meant} "
            f"Keys are: {', '.join(known)}."
        )
    if worst["type"] == "missing":
        return f"{_key(path[:-1])}: {path[-1]!r} is missing. {description}"
    value = _at(config, path)
    hints = [description]
    if worst["type"].startswith("int_") and isinstance(value, float) and value.is_integer():
        hints.append("Write it without a decimal point.")
    elif isinstance(value, str):
        hints.append(_hint(value.strip(), str(path[0]) in typed))
    return " ".join([f"{_key(path)}: {_shown(value)} {_complaint(worst)}.", *filter(None, hints)])


_KINDS = {
    "int": "an integer", "float": "a number", "string": "a text", "bool": "true or false",
    "tuple": "a list", "dict": "a dictionary", "dataclass": "a dictionary",
}  # fmt: skip


def _complaint(error: Any) -> str:
    """What is wrong with a value, in the words of this project's messages."""
    kind, context = error["type"], error.get("ctx", {})
    if kind == "literal_error":
        return f"is not {context['expected']}"
    if kind == "string_too_long":
        return f"is longer than the longest allowed, {context['max_length']:,} characters"
    bounds = {
        "greater_than": ("gt", "is not above"),
        "greater_than_equal": ("ge", "is less than the least allowed,"),
        "less_than": ("lt", "is not below"),
        "less_than_equal": ("le", "is more than the most allowed,"),
    }
    if kind in bounds:
        name, words = bounds[kind]
        bound = context[name]
        return f"{words} {bound:,.12g}" if isinstance(bound, float) else f"{words} {bound:,}"
    expected = _KINDS.get(kind.partition("_")[0])
    if expected:
        return f"is not {expected}"
    return f"is not allowed ({error['msg']})"


def _hint(text: str, typed: bool) -> str:
    """How to write what was probably meant, where a text looks like a number."""
    if typed:
        return (
            "A value from --config may arrive as text, a list always does: put it into a file, and "
            "the file behind --configfile."
        )
    if re.fullmatch(r"[+-]?0\d+", text):
        return f"YAML takes {text} for text because of its leading zero: write {int(text)}."
    if re.fullmatch(r"[+-]?\d+(\.\d*)?[eE][+-]?\d+", text):
        mantissa, exponent = re.split("[eE]", text)
        mantissa = mantissa if "." in mantissa else f"{mantissa}."
        sign = "" if exponent[0] in "+-" else "+"
        return (
            f"YAML takes {text} for text: write {mantissa}{'0' * mantissa.endswith('.')}"
            f"e{sign}{exponent}."
        )
    if re.fullmatch(r"[+-]?\d+,\d+", text):
        return f"Write it with a decimal point: {text.replace(',', '.')}."
    if re.fullmatch(r"[+-]?\d+(\.\d+)? ?%", text):
        return f"Write it as a proportion: {float(text.rstrip(' %')) / 100:g}."
    try:
        float(text)
    except ValueError:
        return ""
    return "It is a text: write the number without quotes."


# --- After pydantic: names, which it takes for any text ---


def _check_names(config: StudyConfig) -> None:
    for path, field, value in _values(config, ()):
        schema = field.metadata.get("json_schema_extra", {})
        description = field.metadata["description"]
        for text in value if field.metadata["axis"] else [] if value is None else [value]:
            if "enum" in schema and text not in schema["enum"]:
                close = get_close_matches(text, schema["enum"], 1)
                meant = f" Did you mean {close[0]}?" if close else ""
                raise StudyError(f"{_key(path)}: {_shown(text)} is not known.{meant} {description}")
            if "pattern" in schema and not re.fullmatch(schema["pattern"].strip("^$"), text):
                raise StudyError(f"{_key(path)}: {_shown(text)} is not allowed. {description}")
    if config.study == "published":
        raise StudyError("study: 'published' is not allowed: what is published lies there.")


def _values(record: Any, path: Path) -> Iterator[tuple[Path, Any, Any]]:
    kind: Any = type(record)
    for name, (field, _) in _fields(kind).items():
        value, here = getattr(record, name), (*path, name)
        items = (
            value.items() if isinstance(value, dict)
            else enumerate(value) if isinstance(value, tuple) else [(None, value)]
        )  # fmt: skip
        yield here, field, value
        for step, item in items:
            if is_dataclass(item):
                yield from _values(item, here if step is None else (*here, step))


def _check_models(config: StudyConfig) -> None:
    """Recipes and requests bear the names of models."""
    for name in config.datasets:
        _check_name(f"datasets.{name[:LONGEST]}", name, "data set")
    for name, own in config.models.items():
        _check_own(f"models.{name[:LONGEST]}", name, own.build)
    for index, experiment in enumerate(config.experiments):
        for model in experiment.model:
            _check_model(f"experiments[{index}].model", model, config, "the name of a model")
        if experiment.teacher and experiment.teacher.model is not None:
            key = f"experiments[{index}].teacher.model"
            _check_model(key, experiment.teacher.model, config, "the name of a model")
    for model in config.recipes:
        _check_model(f"recipes.{model[:LONGEST]}", model, config, "the name of a model")
    for model in config.cluster.keys() - {"default"}:
        allowed = "default, or the name of a model"
        _check_model(f"cluster.{model[:LONGEST]}", model, config, allowed)
    usual = config.cluster.get("default")
    if usual is None or None in (usual.minutes, usual.memory_mb):
        raise StudyError(
            "cluster.default: it needs minutes and memory_mb, which models ask for that are not "
            "named."
        )


def _check_model(key: str, model: str, config: StudyConfig, allowed: str) -> None:
    if model in config.models:
        return
    try:
        names.find(model)
    except StudyError as error:
        own = f" Your own are: {listed(config.models)}." if config.models else ""
        raise StudyError(f"{key}: {_shown(model)} is not {allowed}. {error}{own}") from None


def _check_name(key: str, name: str, what: str) -> None:
    if not re.fullmatch(classes.NAME.strip("^$"), name):
        raise StudyError(
            f"{key}: a {what}'s name has lower case letters, digits, - and _: folders bear it."
        )


def _check_own(key: str, name: str, build: str) -> None:
    """A model of the user's own has a name of its own, and a function that is there."""
    _check_name(key, name, "model")
    try:
        names.find(name)
    except StudyError:
        pass  # as it should be
    else:
        raise StudyError(f"{key}: there is a model {name} already. Take another name.")
    module, _, function = build.partition(":")
    if not fingerprint.located(module):
        raise StudyError(
            f"{key}.build: there is no module {module} beside the Snakefile, in the working "
            "directory or among the installed packages."
        )
    if function not in fingerprint.bound(module):
        raise StudyError(f"{key}.build: there is no {function} in the module {module}.")


# --- Paths, and what is declared at them ---


@cache
def _fields(kind: Any) -> dict[str, Any]:
    """The fields of a class by name, each with its type."""
    hints = get_type_hints(kind, include_extras=True)
    return {f.name: (f, hints[f.name]) for f in fields(kind)}


def _holds_keys(kind: Any) -> bool:
    return is_dataclass(kind)


def _inner(hint: Any) -> Any:
    """The type inside of Annotated and of an optional."""
    while True:
        arguments = get_args(hint)
        if hasattr(hint, "__metadata__"):
            hint = arguments[0]
        elif isinstance(hint, UnionType):
            hint = next(a for a in arguments if a is not type(None))
        else:
            return hint


def _described(path: Path) -> tuple[Any, str]:
    """The class that holds the last key of a path, and the description that is closest to it."""
    kind, description, holder = _inner(StudyConfig), "", None
    for step in path:
        if get_origin(kind) in (tuple, dict):
            kind = _inner(get_args(kind)[0 if get_origin(kind) is tuple else 1])
            continue
        if not _holds_keys(kind):
            break
        holder = kind
        if step not in _fields(kind):
            break
        field, hint = _fields(kind)[step]
        description, kind = field.metadata["description"], _inner(hint)
    return holder, description


def _as_written(path: Path, config: Any) -> Path:
    """Without the positions of values that stand alone where a list might stand."""
    written: list[str | int] = []
    for step in path:
        if type(config) not in (dict, list):
            break  # a position in a list of one, or one of the kinds that a value may have
        if isinstance(step, int) and not isinstance(config, list):
            continue
        written.append(step)
        try:
            config = config[step]
        except (KeyError, IndexError, TypeError):
            config = None
    return tuple(written)


def _at(config: Any, path: Path) -> Any:
    for step in path:
        config = config[step]
    return config


def _key(path: Path) -> str:
    text = "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in path)
    return text.removeprefix(".")[:LONGEST] or "the config"


def _shown(value: Any) -> str:
    try:
        text = repr(value)
    except ValueError:  # an integer of thousands of digits
        text = "a number of thousands of digits"
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}..."


# --- The schema, for editors ---


def schema() -> dict[str, Any]:
    """The JSON schema of a config, or of an overlay: no key is required but in lists' items."""
    exported = _adapter().json_schema()
    exported["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    for name, definition in (("StudyConfig", exported), *exported["$defs"].items()):
        kind = getattr(classes, name)
        if kind not in (Experiment, NoiseGrid, TeacherGrid):
            definition.pop("required", None)
        for key, (field, _) in _fields(kind).items():
            entry = definition["properties"][key]
            if field.metadata["axis"]:
                entry = _one_or_many(entry)
            entry.pop("title", None)
            for part in (entry, *entry.get("anyOf", ())):
                if part.get("type") == "array":
                    part["maxItems"] = MOST_LISTED
                elif isinstance(part.get("additionalProperties"), dict):
                    part["maxProperties"] = MOST_LISTED
            definition["properties"][key] = {"description": field.metadata["description"]} | entry
    return exported


def _one_or_many(entry: dict[str, Any]) -> dict[str, Any]:
    extra = {key: entry[key] for key in ("enum", "pattern", "examples") if key in entry}
    item = entry["items"] | extra
    many = {"type": "array", "items": item, "minItems": 1, "uniqueItems": True}
    return {"anyOf": [item, many]}
