"""The charts of a site: learning curves, performance profiles, and scores against what they cost."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from seqrl_jax.figures import COLOURS, printable
from seqrl_jax.report import words
from seqrl_jax.report.overall import profile
from seqrl_jax.report.pictures import Panel, Style, limits, panels
from seqrl_jax.report.site.charts import Chart, Level, Line, chart
from seqrl_jax.report.site.sheet import Sheet
from seqrl_jax.results.record import Curve
from seqrl_jax.results.statistics import Estimate

THRESHOLDS = [share / 20 for share in range(21)]
"""Of performance profiles."""


def learning_curves(sheet: Sheet, task: str) -> list[Chart]:
    """One for each quantity that the task's curves run along, with what is proved about the task."""
    section, score = sheet.section, sheet.section.track.columns[0]
    label = words.with_unit(score.label, score.unit)
    found = panels(section.tasks[task], score.metric, label, section.bounds(task))
    return [_learning(sheet, panel) for panel in found]


def profiles(sheet: Sheet) -> Chart | None:
    """The share of runs above each score, where any method has a score on the track's first scale."""
    methods = [row for row in sheet.overall if row.kind == "agent"]
    if not methods:
        return None
    lines = []
    for row in methods:
        shares = profile(sheet.section, row, THRESHOLDS)
        lines.append(_line(row.label, sheet.styles[row.method], THRESHOLDS, shares))
    x = f"{sheet.section.track.scales[0].name} score"
    return chart(lines, [], x, "share of runs above it", (0.0, 1.0), f"Share of runs above each {x}, by agent")


def costs(sheet: Sheet) -> Chart | None:
    """The interquartile mean of each method that trains against the seconds that a cell of it took."""
    lines = []
    for row in sheet.overall:
        if row.kind == "agent" and (seconds := training_seconds(sheet, row.method)):
            lines.append(_line(row.label, sheet.styles[row.method], [seconds], [row.statistics["IQM"]]))
    if not lines:
        return None
    ends = [end for line in lines for end in (*line.low, *line.high)]
    margin = 0.05 * max(max(ends) - min(ends), 0.1)
    y = f"IQM of the {sheet.section.track.scales[0].name} score"
    return chart(
        lines,
        [],
        "seconds of training for a cell",
        y,
        (min(ends) - margin, max(ends) + margin),
        f"{y} against seconds of training, by agent",
        logarithmic=True,
    )


def training_seconds(sheet: Sheet, method: str) -> float:
    """The mean over a method's cells of their share of the wall time of training."""
    records = sheet.section.methods[method]
    return sum(record.spent.training / record.cells for record in records) / len(records)


def _learning(sheet: Sheet, panel: Panel) -> Chart:
    wrong = {record.method for record in sheet.section.records if record.marked_wrong}
    lines = [
        _curve(words.name(method, method in wrong), sheet.styles[method], curve)
        for method, curve in panel.curves.items()
    ]
    levels = [Level(words.bound(name), bound.lower, bound.upper) for name, bound in panel.bounds.items()]
    summary = f"Learning curves on {panel.title} in {sheet.title}: {panel.y} against {panel.x}"
    return chart(lines, levels, printable(panel.x), panel.y, limits(panel), printable(summary))


def _curve(label: str, style: Style, curve: Curve) -> Line:
    """The mean over seeds between the worst seed and the best, where any has a value."""
    values = np.array(curve.values, np.float64)
    alive = ~np.isnan(values).all(axis=1)
    at, values = np.array(curve.at)[alive], values[alive]
    middle, low, high = (reduce(values, axis=1).tolist() for reduce in (np.nanmean, np.nanmin, np.nanmax))
    return Line(label, COLOURS.index(style.colour), style.dash, at.tolist(), middle, low, high)


def _line(label: str, style: Style, at: Sequence[float], values: Sequence[Estimate]) -> Line:
    """Estimates between the ends of their intervals; a value that has none is its own."""
    low = [value.value if value.low is None else value.low for value in values]
    high = [value.value if value.high is None else value.high for value in values]
    return Line(label, COLOURS.index(style.colour), style.dash, at, [value.value for value in values], low, high)
