"""Files that their makers keep locked: while one is locked, its maker lives.

The kernel drops a lock when the process dies, however it dies. A forked child inherits the lock and
keeps it until both have ended. Whoever signs or reads a folder keeps others from it meanwhile.
"""

import fcntl
import os
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO

from sdd.base.errors import DataError
from sdd.base.files import REPAIR
from sdd.base.private import open_regular


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Waits until nobody else holds the folder's own lock, and holds it."""
    fd = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)  # and so unlock it


@contextmanager
def alone(path: Path, waiting: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Waits until no other process is in here with the same path; if so, `waiting` is called once.

    The file goes at the end. Raises DataError, naming it, where something else lies there.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    told = False
    while True:
        with _lockable(path) as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if not told:
                    waiting()
                told = True
                fcntl.flock(file, fcntl.LOCK_EX)
            except OSError:  # a file system without locks: then nothing is known of others
                pass
            try:
                if not os.path.samestat(path.stat(), os.fstat(file.fileno())):
                    continue  # who held it has removed it: others may hold its successor
            except FileNotFoundError:
                continue
            try:
                return (yield)
            finally:
                path.unlink(missing_ok=True)


def hold(path: Path) -> TextIO | None:
    """The file at `path`, locked until it is closed or the process dies; None if another has it.

    Raises DataError, naming it, where something else lies there.
    """
    file = _lockable(path)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return None
    except OSError:  # a file system without locks: then nothing is known of others
        pass
    return file


def _lockable(path: Path) -> TextIO:
    """The file at `path`, made if need be. Raises DataError, at once, for what is no file."""
    try:
        return open(open_regular(path, os.O_RDWR | os.O_CREAT, 0o666), "w")
    except OSError:
        if not os.path.lexists(path) or stat.S_ISREG(path.lstat().st_mode):
            raise
        raise DataError(
            f"{path} is no file, but a folder, a link, a pipe or a device. {REPAIR}"
        ) from None


def sign(folder: Path, *, prefix: str = "", suffix: str = "") -> tuple[int, str]:
    """The open descriptor and the path of a new locked file; to leave, unlink it and close it."""
    fd, path = tempfile.mkstemp(dir=folder, prefix=prefix, suffix=suffix)
    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return fd, path


def living(folder: Path, pattern: str) -> list[Path]:
    """The files whose makers live. Those of the dead are removed, unless they are another user's
    and only theirs to remove."""
    found = []
    for path in sorted(folder.glob(pattern)):
        try:
            fd = open_regular(path, os.O_RDONLY)
        except OSError:  # gone meanwhile, no file, or of another user who died before he opened it
            continue
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with suppress(PermissionError):
                path.unlink()
        except BlockingIOError:
            found.append(path)
        finally:
            os.close(fd)
    return found
