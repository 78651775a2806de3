"""Which files are locked on this machine, as the kernel tells it: nothing is opened or locked.

Whoever tried a lock to see whether it is held would hold it for a moment, and keep a job or a run
that asks just then from it.
"""

import os
from pathlib import Path

TABLE = Path("/proc/locks")


def held() -> frozenset[int]:
    """The inode numbers of the files that processes seen from here hold locked; none where the
    kernel does not tell. Locks of other machines, and of other containers, are not among them.

    Without the device, which btrfs and overlayfs give another name here than in `os.stat`.
    """
    try:
        lines = TABLE.read_text("utf-8", "replace").splitlines()
    except OSError:
        return frozenset()
    rows = [line.split() for line in lines]
    # <n>: FLOCK ADVISORY WRITE <pid> <major>:<minor>:<inode> <start> <end>; "->": still waits.
    places = [row[5].rpartition(":")[2] for row in rows if len(row) > 5 and row[1] != "->"]
    return frozenset(int(place) for place in places if place.isdigit())


def inode(path: Path) -> int | None:
    """None where there is no such file, or none that may be looked at."""
    try:
        return os.stat(path).st_ino
    except OSError:
        return None
