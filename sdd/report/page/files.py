"""The page's own files, in the order in which a browser reads them."""

import hashlib
from functools import cache
from pathlib import Path

FOLDER = Path(__file__).parent
DOCUMENT = "page.html"
STYLE = "page.css"
SCRIPTS = (
    "data.js",
    "words.js",
    "elements.js",
    "state.js",
    "settings.js",
    "statistics.js",
    "plots.js",
    "tables.js",
    "claims.js",
    "curves.js",
    "cost.js",
    "weights.js",
    "chosen.js",
    "page.js",
)


def read(name: str) -> str:
    return (FOLDER / name).read_text("utf-8")


@cache
def identity() -> str:
    """Twelve hex digits that change when any of these files does."""
    digest = hashlib.sha256()
    for name in (DOCUMENT, STYLE, *SCRIPTS):
        digest.update(f"{name} {hashlib.sha256(read(name).encode()).hexdigest()}\n".encode())
    return digest.hexdigest()[:12]
