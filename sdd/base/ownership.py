"""Whether a job still may deliver: its run lives, and no later job has taken its place.

When snakemake alone is killed, its jobs go on. Such an orphan must stop, or it would deliver what
was made for a config that has changed since over what a later run has made.
"""

import os
import uuid
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from sdd.base.errors import DataError
from sdd.base.files import opened, replacing

RUN = "SDD_RUN"  # names the process of snakemake to its jobs


@dataclass(frozen=True)
class Run:
    """The process that started this job, if it can be seen from here; else nothing is known."""

    pid: int | None = None
    born: str | None = None  # when it was started, in the kernel's words: numbers are used again

    @classmethod
    def of_this_job(cls) -> "Run":
        """As snakemake's process has said it in the environment of its jobs.

        On a node of a cluster or in a container that is another process, or none: then a number
        that happens to be taken is no ancestor of this process.
        """
        named = os.environ.get(RUN, "")
        pid = int(named) if named.isdigit() else None
        return cls(pid, _born(pid)) if pid in _ancestors() else cls()

    @property
    def gone(self) -> bool:
        return self.pid is not None and _born(self.pid) != self.born


def _status(pid: int) -> list[str]:
    """What Linux tells of a process, from its state on; nothing of one that is gone."""
    with suppress(OSError):
        # Its name, in parentheses before that, may hold anything.
        return Path(f"/proc/{pid}/stat").read_text("utf-8", "replace").rpartition(")")[2].split()
    return []


def _born(pid: int) -> str | None:
    status = _status(pid)
    # A zombie is gone; field 22 of proc(5) is the time of its start.
    return status[19] if status and status[0] not in "ZX" else None


def _ancestors() -> list[int]:
    found, pid = [], os.getppid()
    while pid > 1 and pid not in found:
        found.append(pid)
        status = _status(pid)
        pid = int(status[1]) if status else 0
    return found


@dataclass(frozen=True)
class Claim:
    """The right to deliver at a place, which whoever claims it last has."""

    path: Path
    token: str

    @classmethod
    def taken(cls, path: Path) -> "Claim":
        claim = cls(path, uuid.uuid4().hex)
        with replacing(path) as temporary:
            temporary.write_text(claim.token, "utf-8")
        return claim

    @property
    def lost(self) -> bool:
        try:
            with opened(self.path) as file:
                return file.read() != self.token.encode()
        except DataError:
            return True

    def give_up(self) -> None:
        """Leaves nothing behind, unless somebody else has claimed the place."""
        if not self.lost:
            self.path.unlink(missing_ok=True)
