"""The sha256 of large files that many jobs read, computed once on a machine while they stay alike.

What was computed is remembered in a folder of this user's alone, with what the system says of the
file: whoever writes to it, replaces it or sets its times changes the time of its last change, which
no program can set. What goes wrong on the disk itself is not seen until a file is hashed again.
"""

import hashlib
import os
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path

from sdd.base.errors import DataError, DiskFull
from sdd.base.files import opened, read_record, write_json
from sdd.base.private import own_folder
from sdd.base.records import to_dict

# Two changes within one tick of a file system's clock, at most 2 s (FAT), look like one.
SETTLED_NS = 2 * 10**9


@dataclass(frozen=True)
class Identity:
    """What tells a file, as it is now, from any other and from itself after a change."""

    path: str
    device: int
    inode: int
    size: int
    modified_ns: int
    changed_ns: int

    @classmethod
    def of(cls, path: Path, file: BufferedReader) -> "Identity":
        found = os.fstat(file.fileno())
        return cls(
            str(path.resolve()), found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns,
            found.st_ctime_ns,
        )  # fmt: skip


@dataclass(frozen=True)
class Known:
    """A file whose sha256 was computed."""

    file: Identity
    sha256: str


def known_sha256(path: Path) -> str:
    """The sha256 of the file at `path`, remembered if it was computed on this machine since the
    file last changed. Raises DataError as `sdd.base.files.opened` does."""
    with opened(path) as file:
        identity = Identity.of(path, file)
        record = _record(identity)
        if record:
            with suppress(DataError):  # there is none, or what is none
                known = read_record(record, Known)
                if known.file == identity:
                    return known.sha256
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        settled = time.time_ns() - identity.changed_ns > SETTLED_NS
        if record and settled and Identity.of(path, file) == identity:
            with suppress(OSError, DiskFull, DataError):
                write_json(record, to_dict(Known(identity, digest)))
        return digest


def _record(identity: Identity) -> Path | None:
    """Where it is remembered what a file's sha256 is; None where there is no such folder."""
    try:
        folder = own_folder(Path(tempfile.gettempdir(), f"sdd-{os.getuid()}-sha256"))
    except OSError:
        return None
    return folder / f"{hashlib.sha256(identity.path.encode()).hexdigest()}.json"
