"""The study of a config as it lies in a folder: what commands for people open."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from sdd.base.errors import StudyError
from sdd.base.fingerprint import PACKAGE
from sdd.study import data_entries, outside, reading, validation
from sdd.study.study import Study


def open_study(overlays: Sequence[Path] = (), directory: Path | None = None) -> Study:
    """The study that `snakemake --configfile OVERLAYS --directory DIRECTORY` would run.

    Goes to `directory`, as snakemake does, since every path of a study is relative to it. Raises
    StudyError for what is no config, or no folder.
    """
    given = [path.absolute() for path in overlays]
    if directory is not None:
        try:
            os.chdir(directory)
        except OSError as error:
            raise StudyError(f"--directory {directory}: {error.strerror}") from None
    # As for Snakemake: the user's own models lie beside the Snakefile, or in the working directory.
    sys.path[:0] = [str(PACKAGE.parent), os.getcwd()]
    config = validation.validate(reading.read(given))
    return Study.of(config, data_entries.survey(config.datasets), outside.survey(config))
