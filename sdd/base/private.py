"""Places in a shared temporary folder that others may have prepared: trusted only once looked at.

Whoever may write to the folder may lay a symbolic link, a pipe or a folder of their own where a
program looks for its files. So folders are made for their user alone or checked for whose they are,
and files are opened without following links and without waiting for somebody else.
"""

import os
import stat
from contextlib import suppress
from pathlib import Path

SAFELY = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def own_folder(path: Path) -> Path:
    """The folder at `path`, made if need be, for this user alone; the one around it must exist.

    Raises OSError, naming it, where something else lies there, or where others may write to it.
    """
    with suppress(FileExistsError):
        path.mkdir(mode=0o700)
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode):
        raise NotADirectoryError(f"{path} is no folder; remove it, or set TMPDIR")
    if found.st_uid != os.geteuid() or stat.S_IMODE(found.st_mode) & 0o022:
        raise PermissionError(
            f"{path} is not this user's alone; let its owner remove it, or set TMPDIR"
        )
    return path


def open_regular(path: Path, flags: int, mode: int = 0o600) -> int:
    """A descriptor of the regular file at `path`. Raises OSError for a link or a pipe."""
    descriptor = os.open(path, flags | SAFELY, mode)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(f"{path} is no regular file; remove it, or set TMPDIR")
    return descriptor
