"""An archive's file: a .zip whose bytes follow from what is in it, and its check."""

import hashlib
import json
import zipfile
import zlib
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sdd.archive.contents import Contents
from sdd.archive.crate import METADATA, describe
from sdd.base.errors import DataError
from sdd.base.files import opened, replacing

CHECKSUMS, LEFT_OUT, REDRAW, VERSIONS = (
    "checksums.sha256", "left-out.sha256", "redraw.json", "versions.json",
)  # fmt: skip
EPOCH = (1980, 1, 1, 0, 0, 0)  # the first time that a .zip can tell
PACKED = {".safetensors", ".png", ".pdf"}  # what gets no smaller
PIECE = 1 << 20


def write(path: Path, study: str, contents: Contents) -> None:
    """Raises DataError where a file changes meanwhile."""
    texts = {
        LEFT_OUT: _sums(contents.left_out),
        REDRAW: _json(contents.redraw),
        VERSIONS: _json(contents.versions),
    }
    taken = [p for p in texts if p in contents.files]
    if taken:
        raise DataError(f"{', '.join(taken)}: the archive has a file of this name. Rename yours.")
    digests: dict[str, str] = {}
    with replacing(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        sizes = {}
        for name, file in sorted(contents.files.items()):
            sizes[name] = file.stat().st_size
            digests[name] = _add(archive, name, _pieces(file), sizes[name])
        for name, text in texts.items():
            sizes[name] = len(text)
            digests[name] = _add(archive, name, iter([text]), len(text))
        last = max(f.stat().st_mtime for n, f in contents.files.items() if n.startswith("results/"))
        metadata = _json(
            describe(
                study=study,
                date=datetime.fromtimestamp(last, UTC).date().isoformat(),
                sizes=sizes,
                unsized=[CHECKSUMS],
            )
        )
        digests[METADATA] = _add(archive, METADATA, iter([metadata]), len(metadata))
        sums = _sums(digests)
        _add(archive, CHECKSUMS, iter([sums]), len(sums))


def check(path: Path) -> int:
    """How many files it holds, each as it was archived. Raises DataError, naming what is not."""
    with opened(path) as file:
        try:
            with zipfile.ZipFile(file) as archive:
                return _checked(path, archive)
        except (zipfile.BadZipFile, KeyError) as error:
            raise DataError(f"{path} is damaged, or no archive of a study ({error}).") from None


def _checked(path: Path, archive: zipfile.ZipFile) -> int:
    lines = archive.read(CHECKSUMS).decode("utf-8", "replace").splitlines()
    expected = {name: digest for digest, _, name in (line.partition("  ") for line in lines)}
    there = [name for name in archive.namelist() if name != CHECKSUMS]
    wrong = [f"{name} is missing" for name in expected if name not in set(there)]
    wrong += [f"{name} does not belong to it" for name in there if name not in expected]
    wrong += [f"{name} is there twice" for name in set(there) if there.count(name) > 1]
    for name in expected.keys() & set(there):
        try:
            with archive.open(name) as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]
        except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
            wrong.append(f"{name} is damaged ({error})")
            continue
        if digest != expected[name]:
            wrong.append(f"{name} was altered: it does not match its checksum")
    if wrong:
        raise DataError(f"{path} is not as it was archived:\n  " + "\n  ".join(sorted(wrong)[:20]))
    return len(there)


def _add(archive: zipfile.ZipFile, name: str, pieces: Iterator[bytes], size: int) -> str:
    info = zipfile.ZipInfo(name, EPOCH)
    info.create_system, info.external_attr = 3, 0o100644 << 16  # as on Linux, wherever it is made
    info.compress_type = zipfile.ZIP_STORED if Path(name).suffix in PACKED else zipfile.ZIP_DEFLATED
    info.file_size = size  # so that big files get the fields that they need
    digest, written = hashlib.sha256(), 0
    with archive.open(info, "w") as file:
        for piece in pieces:
            digest.update(piece)
            written += len(piece)
            file.write(piece)
    if written != size:
        raise DataError(f"{name} changed while it was archived. Wait until the study has ended.")
    return digest.hexdigest()


def _pieces(path: Path) -> Iterator[bytes]:
    with opened(path) as file:
        while piece := file.read(PIECE):
            yield piece


def _sums(digests: dict[str, str]) -> bytes:
    """As `sha256sum` writes and checks them."""
    return "".join(f"{digests[name]}  {name}\n" for name in sorted(digests)).encode()


def _json(value: dict[str, Any]) -> bytes:
    return (json.dumps(value, indent=1, ensure_ascii=False) + "\n").encode()
