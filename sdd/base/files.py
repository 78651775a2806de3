"""Files that appear whole or not at all, and are read back with a name to every failure."""

import errno
import hashlib
import json
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path
from typing import Any, TypeVar

from sdd.base.errors import DataError, DiskFull
from sdd.base.records import from_dict

Record = TypeVar("Record")

REPAIR = "Delete it and run snakemake again."
PERMIT = "Let its owner permit it, and run snakemake again."
CHECKSUM = "checksum"  # the key of a JSON file's own sha256


def canonical(value: Any) -> str:
    """Canonical JSON: the same settings always give the same text."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path in the same folder that becomes `path` when the block ends well.

    It has the same suffix, by which programs tell what they are to write.

    Raises DiskFull when there is no room for it.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(path.suffix, f".{path.name}.", path.parent)
        os.close(handle)
        temporary = Path(name)
        try:
            yield temporary
            temporary.chmod(0o644)  # mkstemp's 0600 would hide results from a group's members
            try:
                os.replace(temporary, path)
            except (IsADirectoryError, PermissionError):
                if path.is_dir():
                    raise DataError(f"{path} is a folder where a file belongs. {REPAIR}") from None
                raise
        finally:
            temporary.unlink(missing_ok=True)
    except Exception as error:
        if is_full(error):
            raise DiskFull(
                f"{path} cannot be written: the disk is full. Free some space and run snakemake "
                "again; what was finished is kept."
            ) from None
        raise


def is_full(error: BaseException | None) -> bool:
    """Whether a disk or a quota is full: what failed then may have failed once more as it was
    closed. safetensors reports it in words only."""
    while error is not None:
        if any(os.strerror(code) in str(error) for code in (errno.ENOSPC, errno.EDQUOT)):
            return True
        error = error.__cause__ or error.__context__
    return False


def write_json(path: Path, value: dict[str, Any]) -> None:
    """Writes `value` with its own checksum, which `read_json` insists on."""
    with replacing(path) as temporary:
        sealed = value | {CHECKSUM: _checksum(value)}
        temporary.write_text(json.dumps(sealed, indent=1, allow_nan=False) + "\n", "utf-8")


def read_json(path: Path) -> dict[str, Any]:
    """Raises DataError, naming the file, when it is missing, damaged or not as it was written."""
    with opened(path) as file:
        return parse_json(file.read(), path)


def parse_json(content: bytes, path: Path) -> dict[str, Any]:
    """The `content` of the JSON file at `path`; errors as of `read_json`."""
    try:
        value = json.loads(content)
        whole = isinstance(value, dict) and value.pop(CHECKSUM, None) == _checksum(value)
    except (ValueError, RecursionError) as error:  # no JSON, or more of it than anybody wrote
        raise DataError(f"{path} is damaged ({error}). {REPAIR}") from None
    if not whole:
        raise DataError(
            f"{path} was altered, or made by another version: it does not match its checksum. "
            f"{REPAIR}"
        )
    return value


def read_record(path: Path, kind: type[Record]) -> Record:
    """The JSON file at `path` as a `kind` of record; errors as of `read_json`."""
    value = read_json(path)
    try:
        return from_dict(kind, value)
    except ValueError as error:
        raise DataError(f"{path} is not what this version writes ({error}). {REPAIR}") from None


def _checksum(value: dict[str, Any]) -> str:
    return hashlib.sha256(canonical(value).encode()).hexdigest()


def opened(path: Path) -> BufferedReader:
    """The file at `path`, to be read. Raises DataError, naming it, where there is none, where it
    may not be read, and at once where a pipe, a device or a folder lies in its place."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        raise DataError(f"{path} is missing. Run snakemake again to make it.") from None
    except PermissionError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}). {PERMIT}") from None
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}). {REPAIR}") from None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise DataError(f"{path} is no file, but a folder, a pipe or a device. {REPAIR}")
    return open(descriptor, "rb")


def start_log(path: Path) -> None:
    """Makes the log at `path`, or empties it. Raises DataError, naming it, and at once, where a
    pipe or a folder lies there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NONBLOCK
        os.close(os.open(path, flags, 0o666))
    except IsADirectoryError:
        raise DataError(f"{path} is a folder where a file belongs. {REPAIR}") from None
    except OSError as error:
        if error.errno != errno.ENXIO:
            raise
        raise DataError(f"{path} is no file, but a pipe. {REPAIR}") from None


def expanded(path: str) -> str:
    """The path as a person writes it, with ~ and $VARIABLES in it expanded."""
    return os.path.expanduser(os.path.expandvars(path))


def sha256(path: Path) -> str:
    """Raises DataError as `opened` does."""
    with opened(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
