"""A remembered sha256 is the file's own, or it is computed again."""

import hashlib
import os
import tempfile
from pathlib import Path

import pytest

from sdd.base import known_files
from sdd.base.errors import DataError
from sdd.base.known_files import known_sha256


@pytest.fixture
def place(tmp_path, monkeypatch) -> Path:
    """A folder whose files count as settled at once, and a temporary folder of its own."""
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    monkeypatch.setattr(known_files, "SETTLED_NS", -(10**9))
    return tmp_path


@pytest.fixture
def hashed(monkeypatch) -> list[str]:
    """An entry for each time that a file is really read."""
    read, whole = [], hashlib.file_digest

    def counted(file, kind):
        read.append(kind)
        return whole(file, kind)

    monkeypatch.setattr(known_files.hashlib, "file_digest", counted)
    return read


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def test_a_file_that_stays_is_read_once(place, hashed):
    path = place / "table"
    path.write_bytes(b"logits")
    assert [known_sha256(path) for _ in range(3)] == 3 * [sha256(b"logits")]
    assert len(hashed) == 1
    assert (place / "tmp" / f"sdd-{os.getuid()}-sha256").stat().st_mode & 0o777 == 0o700


def test_a_change_is_seen_though_size_and_time_of_writing_are_as_before(place, hashed):
    path = place / "table"
    path.write_bytes(b"logits")
    before = path.stat()
    known_sha256(path)
    with path.open("r+b") as file:
        file.write(b"Logits")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    after = path.stat()
    assert (after.st_size, after.st_mtime_ns, after.st_ino) == (
        before.st_size, before.st_mtime_ns, before.st_ino,
    )  # fmt: skip
    assert known_sha256(path) == sha256(b"Logits")
    (place / "other").write_bytes(b"others")
    os.replace(place / "other", path)
    assert known_sha256(path) == sha256(b"others")
    assert len(hashed) == 3


def test_a_file_that_changed_just_now_is_not_remembered(place, hashed, monkeypatch):
    monkeypatch.setattr(known_files, "SETTLED_NS", 3600 * 10**9)
    path = place / "table"
    path.write_bytes(b"logits")
    assert [known_sha256(path) for _ in range(2)] == 2 * [sha256(b"logits")]
    assert len(hashed) == 2


def test_what_is_remembered_must_be_whole(place, hashed):
    path = place / "table"
    path.write_bytes(b"logits")
    known_sha256(path)
    (record,) = (place / "tmp").rglob("*.json")
    record.write_text(record.read_text().replace(sha256(b"logits"), 64 * "0"))
    assert known_sha256(path) == sha256(b"logits")
    assert len(hashed) == 2


def test_without_a_folder_of_its_own_nothing_is_trusted(place, hashed):
    (place / "tmp" / f"sdd-{os.getuid()}-sha256").symlink_to(place)
    path = place / "table"
    path.write_bytes(b"logits")
    assert [known_sha256(path) for _ in range(2)] == 2 * [sha256(b"logits")]
    assert len(hashed) == 2 and not list(place.glob("*.json"))


def test_a_missing_file_is_named(place):
    with pytest.raises(DataError, match="table is missing"):
        known_sha256(place / "table")
