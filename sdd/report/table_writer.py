"""The files of a table: every digit for programs, rounded for readers."""

import re
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from sdd.base.files import replacing
from sdd.report.readable import INTERVALS, has_intervals, readable, shared


def frame(name: str, rows: Sequence[dict[str, Any]]) -> pd.DataFrame:
    """A table: one column a number, in base units (FLOPs, g, percent, points).

    Means, intervals and deviations stand apart; what was not measured stays NaN.
    """
    if not rows:
        raise ValueError(f"no chain in these rounds is one that table {name} is about")
    return pd.DataFrame(rows)


def write(frame: pd.DataFrame, stem: Path | str, without_truth: Collection[str] = ()) -> list[Path]:
    """Write a table as <stem>.csv (every digit, base units), <stem>.md and <stem>.tex (rounded).

    Returns these paths.

    What all rows have in common, and what ± means, stands above the readable ones, once; there,
    noise on data sets `without_truth` is said to be of unknown rate.
    """
    common, header, rows = shared(readable(frame, without_truth))
    said = " ".join(filter(None, [common, INTERVALS if has_intervals(frame) else ""]))
    above = f"{said}\n\n" if said else ""
    above_latex = f"% {_escape(said)}\n" if said else ""
    texts = {
        Path(f"{stem}.csv"): frame.to_csv(index=False, lineterminator="\n"),
        Path(f"{stem}.md"): above + markdown(header, rows),
        Path(f"{stem}.tex"): above_latex + _latex(header, rows),
    }
    for path, text in texts.items():
        with replacing(path) as temporary:
            temporary.write_text(text, encoding="utf-8")
    return list(texts)


def markdown(header: list[str], rows: list[list[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _latex(header: list[str], rows: list[list[str]]) -> str:
    """A booktabs tabular; its document needs \\usepackage{booktabs}."""
    head, *body = (" & ".join(_escape(cell) for cell in line) + r" \\" for line in (header, *rows))
    return "\n".join(
        [
            rf"\begin{{tabular}}{{{'l' * len(header)}}}",
            r"\toprule",
            head,
            r"\midrule",
            *body,
            r"\bottomrule",
            r"\end{tabular}",
            "",
        ]
    )


def _escape(text: str) -> str:
    symbols = {
        "λ_opt": r"$\lambda_{\mathrm{opt}}$",
        "λ": r"$\lambda$",
        "α": r"$\alpha$",
        "τ": r"$\tau$",
        "±": r"$\pm$",
        "CO2": r"CO\textsubscript{2}",
        "%": r"\%",
        "&": r"\&",
        "#": r"\#",
        "_": r"\_",
    }
    return re.sub("|".join(map(re.escape, symbols)), lambda found: symbols[found[0]], text)
