"""The teachers from outside that stand in a study's config: the files of their weights."""

from collections.abc import Iterator
from pathlib import Path

from sdd.base import weights
from sdd.base.errors import DataError
from sdd.base.files import expanded
from sdd.study.config import StudyConfig


def survey(config: StudyConfig) -> dict[str, str]:
    """The sha256 of each file of weights, by what the config calls it.

    Raises DataError, naming key and file, for one that is missing, cut off or of another format.
    """
    contents = {}
    for key, named in _weights(config):
        try:
            contents[named] = weights.content(Path(expanded(named)))
        except DataError as error:
            raise DataError(f"{key}: {error}") from None
    return contents


def places(config: StudyConfig, contents: dict[str, str]) -> dict[str, str]:
    """A file for each content, with ~ and $VARIABLES in its path expanded."""
    return {contents[named]: expanded(named) for _, named in _weights(config)}


def settled(config: StudyConfig) -> dict[str, str]:
    """What `survey` returns, for a config whose files are named by their content."""
    return {named: named for _, named in _weights(config)}


def _weights(config: StudyConfig) -> Iterator[tuple[str, str]]:
    for index, experiment in enumerate(config.experiments):
        if experiment.teacher and experiment.teacher.weights is not None:
            yield f"experiments[{index}].teacher.weights", experiment.teacher.weights
