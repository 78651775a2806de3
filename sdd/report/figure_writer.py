"""The files of a figure."""

import io
from collections.abc import Callable
from pathlib import Path

import matplotlib
from matplotlib.figure import Figure

from sdd.base.files import replacing
from sdd.report.material import Material
from sdd.report.style import STYLE


def drawn(draw: Callable[[Material], Figure], material: Material) -> Figure:
    """The figure that a builder draws, in the style of all of them."""
    with matplotlib.rc_context(STYLE):
        return draw(material)


def write(figure: Figure, stem: Path | str) -> list[Path]:
    """Write <stem>.png and <stem>.pdf, and return these paths; the same figure gives the same
    bytes."""
    paths = []
    for suffix, dated in (("png", "Software"), ("pdf", "CreationDate")):
        # Drawn in memory: on a full disk the makers of pictures fail a second time as they close.
        drawing = io.BytesIO()
        with matplotlib.rc_context(STYLE):
            figure.savefig(drawing, format=suffix, metadata={dated: None})
        paths.append(Path(f"{stem}.{suffix}"))
        with replacing(paths[-1]) as temporary:
            temporary.write_bytes(drawing.getvalue())
    return paths
