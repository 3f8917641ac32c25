"""PNG pictures of any track: learning curves between what is proved about their tasks, a panel for each task.

A record's learning curve is the one that has the name of its track's score.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from seqrl_jax.figures import COLOURS, new_figure, png, printable
from seqrl_jax.report.words import DAGGER, name
from seqrl_jax.results.record import Bound, Curve, Record

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DASHES = (":", (0, (4, 3)), "-.", "-", (0, (1, 3)))
"""Of the lines at what is proved, in the track's order."""
INK = "#4a4f57"
LABEL_GAP = 0.062
LABEL_WIDTH = 48
LEGEND_ROW = 0.25
"""Inches."""

Dash = Literal["solid", "dashed", "dotted"]


@dataclass(frozen=True)
class Style:
    """How a method is drawn: a colour `#rrggbb` and a dash that CSS borders and matplotlib both know by name."""

    colour: str
    dash: Dash


@dataclass(frozen=True)
class Panel:
    """The learning curves of one task. curves: by method. bounds: in the order in which they are drawn."""

    title: str
    x: str
    y: str
    curves: Mapping[str, Curve]
    bounds: Mapping[str, Bound]


def styles(records: Sequence[Record]) -> dict[str, Style]:
    """One style for each method, the same in every picture; methods that are wrong on purpose are dashed.

    Styles are distinct for up to 10 methods that are wrong and 20 others.
    """
    methods = {record.method for record in records}
    wrong = {record.method for record in records if record.marked_wrong}
    drawn: dict[str, Style] = {}
    for index, method in enumerate(sorted(methods - wrong)):
        drawn[method] = Style(COLOURS[index % len(COLOURS)], "solid" if index < len(COLOURS) else "dotted")
    for index, method in enumerate(sorted(wrong)):
        drawn[method] = Style(COLOURS[index % len(COLOURS)], "dashed")
    return dict(sorted(drawn.items()))


def panels(records: Sequence[Record], metric: str, label: str, bounds: Mapping[str, Bound]) -> list[Panel]:
    """The panels of one task's records: one for each quantity that curves of `metric` run along, usually one.

    Args: label: of the metric, with its unit. bounds: what is proved about the task.
    """
    along: dict[str, dict[str, Curve]] = {}
    for record in records:
        curve = record.curves.get(metric)
        if curve and any(value is not None for row in curve.values for value in row):
            along.setdefault(curve.x, {})[record.method] = curve
    return [Panel(records[0].task, x, label, curves, bounds) for x, curves in along.items()]


def all_pictures(panels: Sequence[Panel], method_styles: Mapping[str, Style], wrong: set[str], dpi: int = 110) -> bytes:
    """PNG of all panels in a grid, with titles and one legend of the methods. wrong: those that are so on purpose."""
    drawn = {method for panel in panels for method in panel.curves}
    shown = {method: style for method, style in method_styles.items() if method in drawn}
    columns = max(1, min(4, math.ceil(math.sqrt(len(panels)))))
    rows = max(1, math.ceil(len(panels) / columns))
    figure = new_figure(rows, columns, _legend_height(shown, 3 * columns))
    grid = list(figure.subplots(rows, columns, squeeze=False).flat)
    for axes, panel in zip(grid, panels):
        _draw(axes, panel, method_styles)
        axes.set_title(_short(panel.title), fontsize=10, loc="left", color="black", parse_math=False)
    for axes in grid[len(panels) :]:
        axes.set_axis_off()
    _legend(figure, shown, wrong, 3 * columns, "line: mean over seeds, band: from the worst seed to the best")
    return png(figure, dpi)


def _legend_height(shown: Mapping[str, Style], columns: int) -> float:
    return 0.5 + LEGEND_ROW * math.ceil(len(shown) / columns)


def _legend(figure: Figure, shown: Mapping[str, Style], wrong: set[str], columns: int, title: str) -> None:
    from matplotlib.lines import Line2D

    if not shown:
        return
    lines = [Line2D([], [], color=style.colour, linestyle=style.dash, linewidth=2) for style in shown.values()]
    # Matplotlib leaves out labels that begin with an underscore, and reads mathematics between dollar signs.
    legend = figure.legend(
        lines,
        [" "] * len(lines),
        title=f"{title}, {DAGGER}: wrong on purpose",
        title_fontsize=9,
        loc="outside lower center",
        ncols=min(columns, len(shown)),
        frameon=False,
    )
    for text, method in zip(legend.get_texts(), shown):
        text.set_parse_math(False)
        text.set_text(name(_short(method), method in wrong))


def _draw(axes: Axes, panel: Panel, method_styles: Mapping[str, Style]) -> None:
    from matplotlib.ticker import EngFormatter

    for method, curve in panel.curves.items():
        _draw_curve(axes, curve, method_styles[method])
    places = [place for curve in panel.curves.values() for place in curve.at]
    first, last = min([0.0, *places]), max(places)
    axes.set_xlim(first, last if last > first else first + max(1.0, abs(first)))
    low, high = limits(panel)
    axes.set_ylim(low, high)
    _draw_bounds(axes, panel.bounds, low, high)
    axes.xaxis.set_major_formatter(EngFormatter(sep=" "))
    _label(axes, panel.x, panel.y)


def _label(axes: Axes, x: str, y: str) -> None:
    axes.set_xlabel(_short(x), fontsize=8, color=INK, parse_math=False)
    axes.set_ylabel(_short(y), fontsize=8, color=INK, parse_math=False)
    axes.tick_params(labelsize=8, colors=INK, length=3)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color("#b9bec6")


def _draw_curve(axes: Axes, curve: Curve, style: Style) -> None:
    import numpy as np

    values = np.array(curve.values, np.float64)
    alive = ~np.isnan(values).all(axis=1)
    at, values = np.array(curve.at)[alive], values[alive]
    low, high = np.nanmin(values, axis=1), np.nanmax(values, axis=1)
    axes.fill_between(at, low, high, color=style.colour, alpha=0.13, linewidth=0, zorder=2)
    axes.plot(
        at,
        np.nanmean(values, axis=1),
        color=style.colour,
        linestyle=style.dash,
        linewidth=1.7,
        marker="o" if len(at) == 1 else None,
        clip_on=len(at) > 1,
        zorder=3,
    )


def limits(panel: Panel) -> tuple[float, float]:
    """Room for the curves and for what is proved; what is far outside of several proved values is cut off."""
    values = [value for curve in panel.curves.values() for row in curve.values for value in row if value is not None]
    ends = [end for bound in panel.bounds.values() for end in (bound.lower, bound.upper)]
    if len(set(ends)) < 2:
        ends += values
    span = max(max(ends) - min(ends), 1e-3 * max(1.0, abs(max(ends))))
    low = max(min([*values, *ends]), min(ends) - span)
    high = min(max([*values, *ends]), max(ends) + span)
    margin = 0.05 * max(high - low, span)
    return low - margin, high + margin


def _draw_bounds(axes: Axes, bounds: Mapping[str, Bound], low: float, high: float) -> None:
    """A line at the lower end of each bound, a band up to its upper end, its name at the right."""
    dashes = {name: DASHES[index % len(DASHES)] for index, name in enumerate(bounds)}
    names = sorted(bounds, key=lambda name: bounds[name].lower)
    places = [(bounds[name].lower - low) / (high - low) for name in names]
    for bound_name, place, at in zip(names, places, spread(places, LABEL_GAP)):
        bound = bounds[bound_name]
        if not bound.is_exact:
            axes.axhspan(bound.lower, bound.upper, color="black", alpha=0.05, linewidth=0, zorder=0)
        axes.axhline(bound.lower, color=INK, linestyle=dashes[bound_name], linewidth=1.0, zorder=1)
        axes.annotate(
            _short(bound_name).replace("_", " "),
            xy=(1.0, place),
            xytext=(1.05, at),
            xycoords="axes fraction",
            textcoords="axes fraction",
            fontsize=7,
            color=INK,
            va="center",
            parse_math=False,
            arrowprops={"arrowstyle": "-", "color": "#b9bec6", "linewidth": 0.6, "shrinkA": 1, "shrinkB": 0},
        )


def _short(text: str) -> str:
    """Text without the beginning that a picture has no room for; specs differ at their end."""
    shown = printable(text)
    return shown if len(shown) <= LABEL_WIDTH else f"…{shown[1 - LABEL_WIDTH :]}"


def spread(places: list[float], gap: float, top: float = 1.0) -> list[float]:
    """Ascending places moved as little as a sweep up and a sweep down need to leave `gap` between neighbours.

    The last place is kept at or below `top`.
    """
    moved: list[float] = []
    for place in places:
        moved.append(max(place, moved[-1] + gap) if moved else place)
    limit = top
    for index in reversed(range(len(moved))):
        moved[index] = min(moved[index], limit)
        limit = moved[index] - gap
    return moved
