"""The charts of a site: learning curves, performance profiles, and scores against what they cost."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from seqrl_jax.figures import COLOURS, printable
from seqrl_jax.report import sample_efficiency as curves
from seqrl_jax.report import words
from seqrl_jax.report.overall import profile
from seqrl_jax.report.pictures import Dash, Panel, Style, limits, panels
from seqrl_jax.report.site.charts import Chart, Level, Line, chart
from seqrl_jax.report.site.sheet import Sheet
from seqrl_jax.results.record import Bound, Curve
from seqrl_jax.results.statistics import Estimate
from seqrl_jax.tracks.sweeps import RATE, Sweep

THRESHOLDS = [share / 20 for share in range(21)]
"""Of performance profiles."""
PARAMETERS = "trained parameters"


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


def sample_efficiency(sheet: Sheet) -> list[Chart]:
    """The interquartile mean of each method that learns on each task that counts in it, while it does: one for each
    quantity that curves run along, with what is proved."""
    y = f"IQM of the {sheet.section.track.scales[0].name} score" if sheet.section.track.scales else ""
    levels = [Level(row.label, *row.statistics["IQM"].ends) for row in sheet.overall if row.kind == "certified"]
    along: dict[str, list[Line]] = {}
    for each in curves.sample_efficiency(sheet.section):
        label = words.name(each.method, each.method in sheet.wrong)
        along.setdefault(each.x, []).append(_line(label, sheet.styles[each.method], each.at, each.values))
    return [
        chart(lines, levels, printable(x), y, room(lines, levels), printable(f"{y} against {x}, by agent"))
        for x, lines in along.items()
    ]


def costs(sheet: Sheet) -> Chart | None:
    """The interquartile mean of each method that trains against the seconds that a cell of it took."""
    return _overall_against(sheet, training_seconds, "seconds of training for a cell")


def sizes(sheet: Sheet) -> Chart | None:
    """The interquartile mean of each method that trains networks against their parameters."""
    return _overall_against(sheet, mean_parameters, PARAMETERS)


def sizes_on(sheet: Sheet, task: str) -> Chart | None:
    """The score of each cell of a task against the parameters of its networks, with what is proved about the task; None
    where these are all as many."""
    section = sheet.section
    lines = [
        _line(row.label, sheet.styles[row.method], [float(count)], [row.score])
        for row in sheet.rows_of_task[task]
        if row.kind == "agent" and row.score and (count := sheet.parameters.get((task, row.method)))
    ]
    if len({line.at[0] for line in lines}) < 2:
        return None
    levels, score = _levels(section.bounds(task)), section.track.columns[0]
    y = words.with_unit(score.label, score.unit)
    summary = f"Scores on {task} in {sheet.title}: {y} against {PARAMETERS}"
    return chart(lines, levels, PARAMETERS, y, room(lines, levels), printable(summary), logarithmic=True)


def sensitivity(sweep: Sweep) -> Chart | None:
    """The score of a sweep against the learning rate: first with the other settings that the agent ships with, then
    with others, those of the best score first; None of a sweep over no learning rate."""
    first, *others = sweep.by_rate.items() or [("", [])]
    if not first[1]:
        return None
    best = sorted(others, key=lambda each: -max(score for _, score in each[1]))
    chosen = next((rate, score) for rate, score in first[1] if rate == sweep.chosen[RATE])
    lines = [_scored(first[0] or sweep.agent, 0, "solid", first[1])]
    for number, (label, line) in enumerate(best, start=1):
        lines.append(_scored(label, number % len(COLOURS), "dashed" if number < len(COLOURS) else "dotted", line))
    lines.append(_scored("chosen", 0, "solid", [chosen]))
    y = "mean place among all runs of a task"
    summary = f"Sensitivity of {sweep.agent} to its learning rate: {y}"
    return chart(lines, [], "learning rate", y, room(lines), summary, logarithmic=True)


def _scored(label: str, colour: int, dash: Dash, line: Sequence[tuple[float, float]]) -> Line:
    """Of (place, score)."""
    at, scores = zip(*line, strict=True)
    return Line(label, colour, dash, at, scores, scores, scores)


def _overall_against(sheet: Sheet, spent: Callable[[Sheet, str], float], x: str) -> Chart | None:
    """The interquartile mean of each method against what it spends, where that is anything."""
    lines = [
        _line(row.label, sheet.styles[row.method], [amount], [row.statistics["IQM"]])
        for row in sheet.overall
        if row.kind == "agent" and (amount := spent(sheet, row.method))
    ]
    if not lines:
        return None
    y = f"IQM of the {sheet.section.track.scales[0].name} score"
    return chart(lines, [], x, y, room(lines), f"{y} against {x}, by agent", logarithmic=True)


def room(lines: Sequence[Line], levels: Sequence[Level] = ()) -> tuple[float, float]:
    """Of the y axis, a little more than lines and levels need."""
    ends = [end for line in lines for end in (*line.low, *line.high)]
    ends += [end for level in levels for end in (level.low, level.high)]
    margin = 0.05 * max(max(ends) - min(ends), 0.1, 1e-3 * max(map(abs, ends)))
    return min(ends) - margin, max(ends) + margin


def training_seconds(sheet: Sheet, method: str) -> float:
    """The mean over a method's cells of their share of the wall time of training."""
    records = sheet.section.methods[method]
    return sum(record.spent.training / record.cells for record in records) / len(records)


def mean_parameters(sheet: Sheet, method: str) -> int:
    """The mean over a method's cells whose parameters are known, to a whole one; 0 where there is none."""
    counts = [sheet.parameters.get((record.task, method)) for record in sheet.section.methods[method]]
    known = [count for count in counts if count]
    return round(sum(known) / len(known)) if known else 0


def _learning(sheet: Sheet, panel: Panel) -> Chart:
    lines = [
        _curve(words.name(method, method in sheet.wrong), sheet.styles[method], curve)
        for method, curve in panel.curves.items()
    ]
    levels = _levels(panel.bounds)
    summary = f"Learning curves on {panel.title} in {sheet.title}: {panel.y} against {panel.x}"
    return chart(lines, levels, printable(panel.x), panel.y, limits(panel), printable(summary))


def _levels(bounds: Mapping[str, Bound]) -> list[Level]:
    return [Level(words.bound(name), bound.lower, bound.upper) for name, bound in bounds.items()]


def _curve(label: str, style: Style, curve: Curve) -> Line:
    """The mean over seeds between the worst seed and the best, where any has a value."""
    values = np.array(curve.values, np.float64)
    alive = ~np.isnan(values).all(axis=1)
    at, values = np.array(curve.at)[alive], values[alive]
    middle, low, high = (reduce(values, axis=1).tolist() for reduce in (np.nanmean, np.nanmin, np.nanmax))
    return Line(label, COLOURS.index(style.colour), style.dash, at.tolist(), middle, low, high)


def _line(label: str, style: Style, at: Sequence[float], values: Sequence[Estimate]) -> Line:
    """Estimates between the ends of their intervals; a value that has none is its own."""
    low, high = zip(*(value.ends for value in values), strict=True)
    return Line(label, COLOURS.index(style.colour), style.dash, at, [value.value for value in values], low, high)
