"""What the report opens with: the study's claims as a list, in reStructuredText.

Texts of a study are data: every sign that means something to reStructuredText is taken literally.
"""

import re
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from sdd.base.files import replacing

MOST = 60  # claims; the page has them all
SETTING = ("dataset", "noise", "model")
VERDICTS = {"yes": "holds", "no": "does not hold"}

Row = dict[str, str]


def write(path: Path, tables: Sequence[dict[str, Any]]) -> None:
    """Of the study's tables as `sdd.report.page.contents` holds them."""
    with replacing(path) as temporary:
        temporary.write_text(text(tables), "utf-8")


def text(tables: Sequence[dict[str, Any]]) -> str:
    link = "`Explore the study <index.html>`__: curves, cost, weights, learning curves, tables."
    claims = next((table for table in tables if table["name"] == "claims"), None)
    if claims is None:
        return f"{link}\n"
    rows = [dict(zip(claims["header"], row, strict=True)) for row in claims["rows"]]
    lines = [link, "", "**What the study found**"]
    for setting, some in groupby(rows[:MOST], _setting):
        lines += ["", _literal(setting), "", *(f"- {_sentence(row)}" for row in some)]
    if len(rows) > MOST:
        lines += ["", f"And {len(rows) - MOST} more, on that page."]
    return "\n".join(lines) + "\n"


def _setting(row: Row) -> str:
    return ", ".join(row[name] for name in SETTING if row.get(name))


def _sentence(row: Row) -> str:
    verdict = VERDICTS.get(row.get("holds", ""), row.get("holds", ""))
    said = f"**{_literal(verdict.capitalize())}.** " if verdict else ""
    said += f"{_literal(row['claim'])}: **{_literal(_measured(row))}**"
    if row.get("ours_low") and row.get("ours_high"):
        low, high = (f"{float(row[f'ours_{end}']):.4g}" for end in ("low", "high"))
        said += " " + _literal(f"(95 % interval {low} to {high})")
    n = row.get("n", "")
    return f"{said}, {_literal(n)} {'seed' if n == '1' else 'seeds'}."


def _measured(row: Row) -> str:
    if not row.get("ours_mean"):
        return "not known" if row.get("holds") == "not known" else "not measured"
    return f"{float(row['ours_mean']):.4g} {row.get('unit', '')}".strip()


def _literal(text: str) -> str:
    return re.sub(r"([^\w\s]|_)", r"\\\1", " ".join(text.split()))
