"""What vouches for a table's or figure's files: pictures and texts that carry no checksum.

It lies beside them, `<name>.json`, and says which rounds.csv they were made from. Imports nothing
that computes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sdd.analysis.facts import RoundsFacts
from sdd.base import layout
from sdd.base.errors import DataError
from sdd.base.files import read_record, sha256, write_json
from sdd.base.records import to_dict

ALTERED = "Delete it and run snakemake again; to change it, change a copy."


@dataclass(frozen=True)
class ShownFacts:
    """Of one table or figure."""

    name: str
    rounds_checksum: str  # the sha256 of rounds.csv
    file_checksums: dict[str, str]  # the sha256 of each of its files, by suffix


def seal(files: Sequence[Path], rounds: Path) -> None:
    """Vouches for the files of one table or figure, which were made from `rounds`, rounds.csv."""
    facts = ShownFacts(
        files[0].stem,
        read_record(layout.facts_of_rounds(rounds), RoundsFacts).table_checksum,
        {path.suffix: sha256(path) for path in files},
    )
    write_json(files[0].with_suffix(".json"), to_dict(facts))


def check(path: Path, rounds: RoundsFacts) -> None:
    """Raises DataError unless the file at `path` is as it was made, from these rounds."""
    facts_path = path.with_suffix(".json")
    facts = read_record(facts_path, ShownFacts)
    if (facts.name, facts.rounds_checksum) != (path.stem, rounds.table_checksum):
        raise DataError(
            f"{facts_path} is of {facts.name}, or of one that was made from another "
            f"{layout.ROUNDS}. Delete it and run snakemake again."
        )
    if facts.file_checksums.get(path.suffix) != sha256(path):
        raise DataError(f"{path} was altered: it does not match {facts_path.name}. {ALTERED}")
