"""The study of a config as it lies in a folder: what commands for people open."""

import os
from collections.abc import Sequence
from pathlib import Path

from sdd.base.errors import StudyError
from sdd.base.fingerprint import PACKAGE
from sdd.study import data_entries, reading, validation
from sdd.study.study import Study


def open_study(overlays: Sequence[Path] = (), directory: Path | None = None) -> Study:
    """The study that `snakemake --configfile OVERLAYS --directory DIRECTORY` would run.

    Goes to `directory`, as snakemake does, since every path of a study is relative to it. Raises
    StudyError for what is no config, or no folder.
    """
    given = [path.absolute() for path in overlays]
    base = reading.BASE
    if directory is not None:
        try:
            os.chdir(directory)
        except OSError as error:
            raise StudyError(f"--directory {directory}: {error.strerror}") from None
        base = reading.found(reading.BASE, PACKAGE.parent / reading.BASE)
    config = validation.validate(reading.read(given, base))
    return Study.of(config, data_entries.survey(config.datasets))
