"""What people read, taken apart: fenced blocks, the commands in them, links and headings."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from conftest import ROOT

README = ROOT / "README.md"
DOCS = sorted((ROOT / "workflow" / "docs").glob("*.md"))
EXTENDING = ROOT / "workflow" / "docs" / "extending.md"
OWN_DATA = ROOT / "workflow" / "docs" / "own_data.md"
PAGES = [
    README,
    ROOT / "CONTRIBUTING.md",
    *DOCS,
    ROOT / "tests" / "benchmarks" / "README.md",
    *sorted((ROOT / "reports" / "published").glob("*/README.md")),
]

_FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
# The first line of a block may say which file it is, and where in that file it goes.
_PLACE = re.compile(r"(?:#|\.\.) ([\w./]+\.\w+)(?:, (.+))?\n")


class Block(NamedTuple):
    language: str
    text: str

    @property
    def place(self) -> tuple[str, str | None] | None:
        found = _PLACE.match(self.text)
        return (found[1], found[2]) if found and self.language != "bash" else None


def name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def blocks(page: Path, language: str | None = None) -> list[Block]:
    found = [Block(*match) for match in _FENCED.findall(page.read_text("utf-8"))]
    return [block for block in found if language in (None, block.language)]


def commands(page: Path) -> Iterator[str]:
    """Every command of the page's shell blocks, without comments and with one space between words;
    where its output goes is a part of it."""
    for block in blocks(page, "bash"):
        for line in block.text.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            while "&&" in words:
                yield shlex.join(words[: words.index("&&")])
                words = words[words.index("&&") + 1 :]
            if words:
                yield shlex.join(words)


def prose(page: Path) -> str:
    """The page without code."""
    return re.sub("`[^`]*`", "", _FENCED.sub("", page.read_text("utf-8")))


def links(page: Path) -> list[str]:
    return re.findall(r"\]\(([^)\s]+)\)", prose(page))


def anchors(page: Path) -> set[str]:
    """Those of a page's headings, as they are made where the page is shown."""
    text = _FENCED.sub("", page.read_text("utf-8"))
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
