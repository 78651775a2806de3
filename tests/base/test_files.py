"""What lies in a file's place and is no file, or not what anybody wrote: named, and at once."""

import errno
import os
import shutil
import signal
from contextlib import suppress
from pathlib import Path

import pytest

from sdd.base.errors import DataError, DiskFull, SddError, StudyError
from sdd.base.files import CHECKSUM, read_json, replacing, sha256, write_json
from sdd.study import reading

DEEP = "[" * 200_000 + "]" * 200_000
CONTENTS = {
    "empty": b"",
    "cut off": b'{"a": 1',
    "no text": b"\xff\xfe\x00",
    "too deep": f'{{"a": {DEEP}}}'.encode(),
    "too long a number": b'{"a": ' + b"9" * 10_000 + b"}",
    "no object": b"[1]",
    "no number": f'{{"a": NaN, "{CHECKSUM}": ""}}'.encode(),
}


def clear(path: Path) -> None:
    with suppress(FileNotFoundError):
        shutil.rmtree(path) if path.is_dir() else path.unlink()


DAMAGES = {
    "missing": lambda path: None,
    "a folder": lambda path: path.mkdir(),
    "a pipe": os.mkfifo,
    "a broken link": lambda path: path.symlink_to(path.with_name("nowhere")),
    "a link to itself": lambda path: path.symlink_to(path),
    **{name: lambda path, c=content: path.write_bytes(c) for name, content in CONTENTS.items()},
}


@pytest.fixture(autouse=True)
def nobody_waits():
    """A reader that waits is interrupted, and has failed."""
    signal.signal(signal.SIGALRM, lambda *_: pytest.fail("it waits"))
    signal.alarm(20)
    yield
    signal.alarm(0)


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_json_file_is_named(tmp_path, damage):
    path = tmp_path / "facts.json"
    DAMAGES[damage](path)
    with pytest.raises(DataError, match=r"facts\.json .*(Delete it and run|Run) snakemake again"):
        read_json(path)


@pytest.mark.parametrize("damage", ["a folder", "a pipe", "too deep", "no text", "no object"])
def test_a_damaged_config_is_named(tmp_path, damage):
    path = tmp_path / "study.yaml"
    DAMAGES[damage](path)
    with pytest.raises(StudyError, match=r"study\.yaml"):
        reading.load(path)


def test_what_is_no_file_is_not_hashed(tmp_path):
    for damage in ("missing", "a folder", "a pipe"):
        path = tmp_path / damage
        DAMAGES[damage](path)
        with pytest.raises(DataError, match=damage):
            sha256(path)


def test_a_folder_in_the_place_of_an_output_is_named(tmp_path):
    (tmp_path / "facts.json").mkdir()
    with pytest.raises(DataError, match="is a folder where a file belongs"):
        write_json(tmp_path / "facts.json", {"a": 1})
    assert [path.name for path in tmp_path.iterdir()] == ["facts.json"]


def test_a_disk_that_was_full_once_more_at_the_end_has_its_message(tmp_path):
    with pytest.raises(DiskFull, match="the disk is full") as failed, replacing(tmp_path / "f"):
        try:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError:
            raise ValueError("write to closed file")  # noqa: B904
    assert isinstance(failed.value, SddError) and not list(tmp_path.iterdir())
