"""The page as one file: opened from disk, it asks nobody for anything.

What a study says (names, texts of tables) is data and never markup: it stands in a block of JSON
without a single "<", and the scripts put it on the page as text. Beside that, the browser is told
to run nothing but the two scripts here, by their hashes, and to load nothing.
"""

import base64
import hashlib
import html
import json
from pathlib import Path
from string import Template
from typing import Any

from plotly.offline import get_plotlyjs

from sdd.base.files import replacing
from sdd.report.page import files


def write(path: Path, contents: dict[str, Any]) -> None:
    with replacing(path) as temporary:
        temporary.write_text(document(contents), encoding="utf-8", newline="")


def document(contents: dict[str, Any]) -> str:
    """The whole page; `contents` are those of `sdd.report.page.contents`."""
    library, own = _script(get_plotlyjs()), _script(_own_script())
    policy = {
        "default-src": "'none'",
        "script-src": f"{_hash(library)} {_hash(own)}",
        "style-src": "'unsafe-inline'",  # Plotly writes its own
        "img-src": "data: blob:",  # a plot that is saved as a picture
    }
    return Template(files.read(files.DOCUMENT)).substitute(
        title=html.escape(contents["study"]),
        policy="; ".join(f"{what} {who}" for what, who in policy.items()),
        style=files.read(files.STYLE),
        data=_data(contents),
        library=library,
        script=own,
    )


def _own_script() -> str:
    parts = "\n".join(files.read(name) for name in files.SCRIPTS)
    return f'(() => {{\n"use strict";\n{parts}}})();'


def _script(text: str) -> str:
    """As a browser sees it: lines end in one sign, and nothing in it ends the script."""
    if any(end in text.lower() for end in ("</script", "<!--")):
        raise ValueError("a script that would end before its end")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _hash(script: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"


def _data(contents: dict[str, Any]) -> str:
    text = json.dumps(contents, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c")
