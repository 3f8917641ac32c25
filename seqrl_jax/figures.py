"""What pictures and tables of text need: a figure, its bytes, colours, and text that cannot steer a terminal."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# The palette of Okabe and Ito (2008) without black and yellow, which the certified lines and white paper need.
COLOURS = (
    "#0072b2",
    "#d55e00",
    "#009e73",
    "#cc79a7",
    "#e69f00",
    "#56b4e9",
    "#7f3c8d",
    "#8c564b",
    "#4b5d16",
    "#e41a72",
)
PANEL_INCHES = (5.6, 3.4)
NONE = "–"
"""A value that is missing, or has no meaning."""


def printable(text: str) -> str:
    """`text` with everything that could steer a terminal or break a line written as an escape."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def new_figure(rows: int, columns: int, legend_inches: float) -> Figure:
    """A figure with room for a grid of panels and for a legend below them."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    width, height = PANEL_INCHES
    figure = Figure(figsize=(width * columns, height * rows + legend_inches), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def png(figure: Figure, dpi: int) -> bytes:
    """The figure as a PNG file's bytes."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi)
    return buffer.getvalue()
