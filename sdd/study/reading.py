"""A study's config as it is written: config.yaml, and files of changes laid over it."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from sdd.base.errors import DataError, StudyError
from sdd.base.files import opened
from sdd.base.fingerprint import PACKAGE

BASE = Path("config.yaml")


def read(overlays: Iterable[Path] = (), base: Path = BASE) -> dict[str, Any]:
    """What `snakemake --configfile OVERLAYS` sees, with `base` in the working directory, or else
    beside the Snakefile. Raises StudyError for a file that is no config.

    The result is not validated.
    """
    config = load(found(base, PACKAGE.parent / base))
    for overlay in overlays:
        config = merge(config, load(overlay))
    return config


def found(*places: Path) -> Path:
    """The first of these places where a base config lies. Raises StudyError where it is nowhere."""
    for place in places:
        if place.exists():
            return place
    looked = ", nor ".join(f"at {place}" for place in places)
    raise StudyError(
        f"There is no base config {looked}. Put config.yaml back, or copy it from the repository; "
        "what --configfile names is laid over it."
    )


def merge(base: dict[str, Any], overlay: dict[str, Any]) -> dict[str, Any]:
    """As Snakemake merges config files: dictionaries merge, everything else is replaced."""
    merged = dict(base)
    for key, value in overlay.items():
        both = isinstance(value, dict) and isinstance(base.get(key), dict)
        merged[key] = merge(base[key], value) if both else value
    return merged


def typed(values: dict[str, Any]) -> dict[str, Any]:
    """What came with --config, whose lists and dictionaries arrive with texts in them."""
    return {
        key: _resolved(value) if isinstance(value, dict | list) else value
        for key, value in values.items()
    }


def _resolved(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _resolved(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_resolved(item) for item in value]
    return yaml.load(value, _Loader) if isinstance(value, str) else value


def load(path: Path) -> dict[str, Any]:
    """The config in a file. Raises StudyError where it says something twice, or in octal digits,
    which YAML would both take without a word."""
    try:
        with opened(path) as file:  # never waits for a pipe
            content = yaml.load(file.read().decode("utf-8-sig"), _Loader)
    except DataError as error:
        raise StudyError(f"{path} cannot be read as a config: {error}") from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError, RecursionError, ValueError) as error:
        raise StudyError(f"{path} cannot be read as a config: {error}") from None
    if not isinstance(content, dict):
        raise StudyError(f"{path} is no config: it holds no keys.")
    return content


class _Loader(yaml.SafeLoader):
    """YAML's safe loader, without its silence."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        lines: dict[Any, int] = {}
        for key, _ in node.value:
            if key.tag == "tag:yaml.org,2002:merge":
                continue
            name, line = self.construct_object(key, deep=True), key.start_mark.line + 1
            if not isinstance(name, (str, int, float, bool, type(None))):
                raise yaml.YAMLError(f"line {line}: a key is a name, not {type(name).__name__}")
            if name in lines:
                raise yaml.YAMLError(
                    f"the key {name!r} stands in line {lines[name]} and again in line {line}. "
                    "Keep one of them."
                )
            lines[name] = line
        return super().construct_mapping(node, deep)

    def construct_yaml_int(self, node: yaml.ScalarNode) -> int:
        text = node.value.replace("_", "").lstrip("+-")
        if len(text) > 1 and text.startswith("0") and text.isdigit():
            raise yaml.YAMLError(
                f"line {node.start_mark.line + 1}: YAML takes {node.value} for an octal number. "
                f"Write {node.value.lstrip('0') or '0'}."
            )
        return super().construct_yaml_int(node)


_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.construct_yaml_int)
