"""Learning curves against the certified values, as PNG pictures: one panel per task."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from seqrl_jax.figures import COLOURS, new_figure, png, printable
from seqrl_jax.results.store import CERTIFIED, EXACT_GAP, Cell
from seqrl_jax.report.table import by_task, newest

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DAGGER = "†"
LABELS = dict(zip(CERTIFIED, ("random", "best det.", "best stoch.", "history", "state")))
CERTIFIED_DASHES = dict(zip(CERTIFIED, (":", (0, (4, 3)), "-.", "-", (0, (1, 3)))))
INK = "#4a4f57"
LABEL_GAP = 0.062


Dash = Literal["solid", "dashed", "dotted"]


@dataclass(frozen=True)
class Style:
    """How an agent is drawn: a colour `#rrggbb` and a dash that CSS borders and matplotlib both know by name."""

    colour: str
    dash: Dash


def styles(cells: Sequence[Cell]) -> dict[str, Style]:
    """One style for each agent, the same in every panel; agents that are wrong on purpose are dashed."""
    wrong = {cell.agent for cell in cells if cell.marked_wrong}
    found = {}
    for index, agent in enumerate(sorted({cell.agent for cell in cells})):
        dash: Dash = "dashed" if agent in wrong else "solid" if index < len(COLOURS) else "dotted"
        found[agent] = Style(COLOURS[index % len(COLOURS)], dash)
    return found


def task_picture(cells: Sequence[Cell], agent_styles: dict[str, Style], dpi: int = 150) -> bytes:
    """PNG of one task's panel without a legend; `cells` are those of the task."""
    figure = new_figure(1, 1, 0.0)
    _draw(figure.add_subplot(), cells, agent_styles)
    return png(figure, dpi)


def all_pictures(cells: Sequence[Cell], dpi: int = 110) -> bytes:
    """PNG of every task's panel in a grid, titles and one legend of agents."""
    tasks = by_task(cells)
    agent_styles = styles(cells)
    wrong = {cell.agent for cell in cells if cell.marked_wrong}
    columns = max(1, min(4, math.ceil(math.sqrt(len(tasks)))))
    rows = max(1, math.ceil(len(tasks) / columns))
    legend_columns = min(columns * 3, max(1, len(agent_styles)))
    legend_inches = 0.5 + 0.25 * math.ceil(len(agent_styles) / legend_columns)
    figure = new_figure(rows, columns, legend_inches)
    panels = figure.subplots(rows, columns, squeeze=False).flat
    for axes, (task, group) in zip(panels, tasks.items()):
        _draw(axes, group, agent_styles)
        axes.set_title(printable(task), fontsize=10, loc="left", color="black", parse_math=False)
    for axes in list(panels)[len(tasks) :]:
        axes.set_axis_off()
    _legend(figure, agent_styles, wrong, legend_columns)
    return png(figure, dpi)


def _legend(figure: Figure, agent_styles: dict[str, Style], wrong: set[str], columns: int) -> None:
    from matplotlib.lines import Line2D

    if not agent_styles:
        return
    lines = [Line2D([], [], color=style.colour, linestyle=style.dash, linewidth=2) for style in agent_styles.values()]
    names = [printable(agent) + (DAGGER if agent in wrong else "") for agent in agent_styles]
    # Matplotlib leaves out labels that begin with an underscore, and reads mathematics between dollar signs.
    legend = figure.legend(
        lines,
        [" "] * len(lines),
        title=f"line: mean over seeds, band: from the worst seed to the best, {DAGGER}: wrong on purpose",
        title_fontsize=9,
        loc="outside lower center",
        ncols=columns,
        frameon=False,
    )
    for text, name in zip(legend.get_texts(), names):
        text.set_parse_math(False)
        text.set_text(name)


def _draw(axes: Axes, cells: Sequence[Cell], agent_styles: dict[str, Style]) -> None:
    from matplotlib.ticker import EngFormatter

    last = max((cell.steps[-1] for cell in cells if cell.steps), default=1)
    for cell in cells:
        _draw_agent(axes, cell, agent_styles[cell.agent])
    axes.set_xlim(0, max(last, 1))
    low, high = _limits(cells)
    axes.set_ylim(low, high)
    _draw_certified(axes, newest(cells), low, high)
    axes.xaxis.set_major_formatter(EngFormatter(sep=" "))
    axes.set_xlabel("environment steps", fontsize=8, color=INK)
    axes.set_ylabel("return J", fontsize=8, color=INK)
    axes.tick_params(labelsize=8, colors=INK, length=3)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color("#b9bec6")


def _draw_agent(axes: Axes, cell: Cell, style: Style) -> None:
    import numpy as np

    curve = np.array(cell.curve, np.float64).reshape(len(cell.steps), len(cell.seeds))
    alive = ~np.isnan(curve).all(axis=1)
    if not alive.any():
        return
    steps, curve = np.array(cell.steps)[alive], curve[alive]
    line: dict[str, Any] = {"color": style.colour, "linestyle": style.dash}
    axes.fill_between(
        steps,
        np.nanmin(curve, axis=1),
        np.nanmax(curve, axis=1),
        color=style.colour,
        alpha=0.13,
        linewidth=0,
        zorder=2,
    )
    axes.plot(
        steps,
        np.nanmean(curve, axis=1),
        **line,
        linewidth=1.7,
        marker="o" if len(steps) == 1 else None,
        clip_on=len(steps) > 1,
        zorder=3,
    )


def _limits(cells: Sequence[Cell]) -> tuple[float, float]:
    """Room for the curves and the certified values; a collapse far below the random policy is cut off."""
    values = [J for cell in cells for row in cell.curve for J in row if J is not None]
    certified = newest(cells).certified
    ends = [value[end] for value in certified.values() for end in ("lower", "upper")]
    span = max(max(ends) - min(ends), 1e-3 * max(1.0, abs(max(ends))))
    low = max(min([*values, *ends]), min(ends) - span)
    high = min(max([*values, *ends]), max(ends) + span)
    margin = 0.05 * (high - low)
    return low - margin, high + margin


def _draw_certified(axes: Axes, cell: Cell, low: float, high: float) -> None:
    """A line at the lower end of each certified value, a band up to its upper end, its name at the right."""
    names = sorted(CERTIFIED, key=lambda name: cell.certified[name]["lower"])
    places = [(cell.certified[name]["lower"] - low) / (high - low) for name in names]
    for name, place, at in zip(names, places, spread(places, LABEL_GAP)):
        lower, upper = cell.certified[name]["lower"], cell.certified[name]["upper"]
        if upper - lower > EXACT_GAP:
            axes.axhspan(lower, upper, color="black", alpha=0.05, linewidth=0, zorder=0)
        axes.axhline(lower, color=INK, linestyle=CERTIFIED_DASHES[name], linewidth=1.0, zorder=1)
        axes.annotate(
            LABELS[name],
            xy=(1.0, place),
            xytext=(1.05, at),
            xycoords="axes fraction",
            textcoords="axes fraction",
            fontsize=7,
            color=INK,
            va="center",
            arrowprops={"arrowstyle": "-", "color": "#b9bec6", "linewidth": 0.6, "shrinkA": 1, "shrinkB": 0},
        )


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
