"""A study's config as it is written: config.yaml, and files of changes laid over it."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from sdd.errors import StudyError

BASE = Path("config.yaml")


def read(overlays: Iterable[Path] = (), base: Path = BASE) -> dict[str, Any]:
    """What `snakemake --configfile OVERLAYS` sees. Raises StudyError for a file that is no config.

    The result is not validated.
    """
    if not base.exists():
        raise StudyError(
            f"There is no {base} here. Go to the folder that holds it and the Snakefile."
        )
    config = _load(base)
    for overlay in overlays:
        config = merge(config, _load(overlay))
    return config


def merge(base: dict[str, Any], overlay: dict[str, Any]) -> dict[str, Any]:
    """As Snakemake merges config files: dictionaries merge, everything else is replaced."""
    merged = dict(base)
    for key, value in overlay.items():
        both = isinstance(value, dict) and isinstance(base.get(key), dict)
        merged[key] = merge(base[key], value) if both else value
    return merged


def _load(path: Path) -> dict[str, Any]:
    import yaml

    try:
        content = yaml.safe_load(path.read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise StudyError(f"{path} cannot be read as a config: {error}") from None
    if not isinstance(content, dict):
        raise StudyError(f"{path} is no config: it holds no keys.")
    return content
