"""The table for a terminal of any width."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from seqrl_jax.figures import printable
from seqrl_jax.report import words
from seqrl_jax.report.best import Cell
from seqrl_jax.report.grid import Grid, Line, rendered
from seqrl_jax.report.overall import STATISTICS, THRESHOLDS, Improvement, Overall, overall, profile
from seqrl_jax.report.sections import Section, mixtures, warnings
from seqrl_jax.report.table import Kind, Row, errors, rows, without_scale
from seqrl_jax.report.words import NONE, WRONG
from seqrl_jax.results.coverage import coverage
from seqrl_jax.results.record import Bound
from seqrl_jax.tracks.base import Column, Scale

if TYPE_CHECKING:
    from rich.console import RenderableType

REACH = f"±: to the further end of the 95% interval over seeds, {NONE} with one seed"
FAILED = "!n: n seeds failed; entries leave them out, what is over all tasks counts them, as 0 at best"
INEXACT = "~: lower end of an interval that is not exact"
BOTH = "a|b: 0 is the lower|upper end of a value that is known as an interval only"
CROWDED = "cells are more than a table shows: see --format csv, --columns with --sort, or `seqrl report`"
PROVED = "*: proved, above the upper end by more than chance explains"


def console_tables(sections: Sequence[Section], width: int) -> RenderableType:
    """Every section's tables, in blocks that fit `width` columns; warnings in yellow, errors in red."""
    from rich.console import Group
    from rich.text import Text

    if not sections:
        return Text("no results yet")
    return Group(*(part for section in sections for part in _section(section, width)))


def render(sections: Sequence[Section], width: int | None = None) -> str:
    """`console_tables` as plain text, `width` columns wide (by default as wide as the terminal)."""
    from rich.console import Console

    console = Console(file=io.StringIO(), width=width, color_system=None, force_terminal=False)
    with console.capture() as captured:
        console.print(console_tables(sections, console.width))
    return captured.get()


def _section(section: Section, width: int) -> list[RenderableType]:
    from rich.text import Text

    track = section.track
    size = words.counted(len(section.tasks), "task"), words.counted(len(section.methods), "method")
    seeds = words.number_range([len(record.seeds) for record in section.records])
    heading = f"{track.name}: {', '.join(size)}, seeds in each cell: {seeds}"
    parts: list[RenderableType] = [Text(printable(heading), style="bold underline")]
    table = rows(section) if section.fits_a_table else []
    for grid in grids(section, table) if table else _summary(section):
        parts += rendered(grid, width)
    parts.append(Text(""))
    parts += [
        Text(printable(line), style="dim")
        for line in [
            *_legend(section, table),
            *without_scale(section),
            _policies(section),
            coverage(),
            *track.notes(section.records),
        ]
    ]
    parts += [Text(printable(line), style="yellow") for line in mixtures(section)]
    parts += [Text(f"warning: {printable(line)}", style="yellow") for line in warnings(section)]
    parts += [Text(f"error: {printable(line)}", style="bold red") for line in errors(section)]
    return parts


def grids(section: Section, table: Sequence[Row], best: frozenset[Cell] = frozenset()) -> list[Grid]:
    """What a section's tables say, and what is marked in those of the score."""
    track = section.track
    grids = _summary(section)
    for index, scale in enumerate(track.scales):
        grids.append(_scale_grid(section, table, scale, index == 0, best))
    score, *others = track.columns
    uncertified = [row for row in table if not row.certified]
    grids.append(_column_grid(section, uncertified, score, ", not certified" if track.scales else "", best))
    grids += [_column_grid(section, table, column, "") for column in others]
    grids.append(_proved_grid(section))
    return [grid for grid in grids if grid.columns and grid.lines]


def _summary(section: Section) -> list[Grid]:
    """Aggregates over tasks, where there are any."""
    total = overall(section)
    return [_overall_grid(total)] if total else []


def _overall_grid(total: Sequence[Overall]) -> Grid:
    of = max(row.tasks for row in total)
    lines = [
        Line(
            row.label,
            [
                *(words.with_interval(row.statistics[statistic]) for statistic in STATISTICS),
                f"{words.two(row.worst_score)} {printable(row.worst_task)}",
                str(row.tasks) if row.tasks == of else f"{row.tasks} of {of}",
                f"{row.seeds}" + (f" !{row.failed}" if row.failed else ""),
                words.listed(row.policies) or NONE,
            ],
            _style(row.kind, row.marked_wrong),
        )
        for row in total
    ]
    columns = [*STATISTICS, "worst task", "tasks", "seeds", "policy"]
    return Grid(f"Over all tasks, {total[0].scale} score with 95% intervals", columns, lines)


def _scale_grid(
    section: Section, table: Sequence[Row], scale: Scale, every_method: bool, best: frozenset[Cell]
) -> Grid:
    """Methods down, tasks across. Where not every method is shown, it is those that are proved above 0 somewhere."""
    proved = {row.method for row in table if scale.name in row.scales and row.scales[scale.name].proved}
    shown = [row for row in table if scale.name in row.scales or (row.certified and row.failed_wholly)]
    if not every_method:
        shown = [row for row in shown if row.kind == "agent" and row.method in proved]
    left_out = 0 if every_method else len(section.methods) - len(proved)
    rest = f"; without {words.counted(left_out, 'method')} that nothing proves above 0" if left_out else ""
    entry = lambda row: _scale_entry(row, scale, mark=not every_method)
    return _grid(section, f"{scale.name.capitalize()} score, {scale.about}{rest}", shown, entry, best)


def _column_grid(
    section: Section, table: Sequence[Row], column: Column, remark: str, best: frozenset[Cell] = frozenset()
) -> Grid:
    """Methods down, tasks across, in the column's own unit."""
    is_score = column.metric == section.track.columns[0].metric
    values = {
        (row.task, row.method): row.score if is_score else row.metrics.get(column.metric)
        for row in table
        if row.kind == "agent"
    }
    with_values = {method for (_, method), value in values.items() if value is not None or is_score}
    shown = [row for row in table if row.kind == "agent" and row.method in with_values]
    entry = lambda row: words.with_failures(words.with_reach(values[row.task, row.method]), row.failed, row.seeds)
    better = f", {column.better} is better" if column.better else ""
    return _grid(section, f"{words.with_unit(column.label, column.unit)}{better}{remark}", shown, entry, best)


def _grid(
    section: Section, title: str, shown: Sequence[Row], text: Callable[[Row], str], best: frozenset[Cell]
) -> Grid:
    """What is proved in the track's order, then methods in theirs; tasks across."""
    by_name = {(row.task, row.kind, row.method): row for row in shown}
    there = {row.task for row in shown}
    tasks = [task for task in section.tasks if task in there]
    lines: list[Line] = []
    kinds: list[tuple[Kind, list[str]]] = [("certified", section.proved), ("agent", list(section.methods))]
    for kind, method in ((kind, method) for kind, methods in kinds for method in methods):
        cells = [by_name.get((task, kind, method)) for task in tasks]
        if first := next(filter(None, cells), None):
            entries = [text(cell) if cell else "" for cell in cells]
            marked = frozenset(i for i, task in enumerate(tasks) if kind == "agent" and (task, method) in best)
            lines.append(Line(first.label, entries, _style(kind, first.marked_wrong), marked))
    return Grid(title, list(map(printable, tasks)), lines)


def _proved_grid(section: Section) -> Grid:
    """What is proved about the tasks, in units of the score; tasks down."""
    score = section.track.columns[0]
    lines = []
    for task in section.tasks:
        bounds = section.bounds(task)
        values = [bounds.get(name) for name in section.proved]
        lines.append(Line(printable(task), [_end(value) if value else words.NONE for value in values]))
    title = f"Proved values, {words.with_unit(score.label, score.unit)}"
    return Grid(title, [words.bound(name) for name in section.proved], lines)


def improvement_grid(row: Improvement) -> Grid:
    """The chance that a run of one method scores higher than one of another."""
    first, second = map(printable, row.methods)
    title = f"{row.track}: probability of improvement over {words.counted(row.tasks, 'task')}; ties count one half"
    return Grid(title, ["[95%]"], [Line(f"P({first} > {second})", [words.with_interval(row.probability)])])


def profile_grid(section: Section) -> Grid:
    """Performance profiles: the share of runs above each score, methods down."""
    lines = [
        Line(row.label, [words.with_interval(share) for share in profile(section, row)])
        for row in overall(section)
        if row.kind == "agent"
    ]
    title = f"{section.track.name}: share of runs over all tasks with a score above"
    return Grid(title, [f"{threshold:g}" for threshold in THRESHOLDS], lines)


def _scale_entry(row: Row, scale: Scale, mark: bool) -> str:
    if row.failed_wholly:
        return "failed"
    score = row.scales[scale.name]
    if row.kind == "certified":
        return words.two(score.value.value) + ("" if row.exact else "~")
    texts = dict.fromkeys([words.with_reach(score.value), words.with_reach(score.of_upper or score.value)])
    return words.with_failures("|".join(texts) + ("*" if mark and score.proved else ""), row.failed, row.seeds)


def _end(bound: Bound) -> str:
    return words.figures(bound.lower) + ("" if bound.is_exact else "~")


def _style(kind: Kind, wrong: bool) -> str:
    return "cyan" if kind == "certified" else "yellow" if wrong else ""


def _policies(section: Section) -> str:
    """How the policies of the methods act where they are judged."""
    acting: dict[str, list[str]] = {}
    for method, records in section.methods.items():
        acting.setdefault(" or ".join(sorted({record.policy for record in records})), []).append(method)
    if len(acting) == 1:
        return f"Judged policies: {next(iter(acting))}."
    return "Judged policies: " + "; ".join(f"{how}: {', '.join(methods)}" for how, methods in acting.items()) + "."


def _legend(section: Section, table: Sequence[Row]) -> list[str]:
    """What the signs mean that the tables use, and what is left out where the rows are too many to be shown."""
    scales = [scale for row in table for scale in row.scales.values()]
    signs = {
        CROWDED: not table,
        REACH: bool(table),
        WRONG: any(record.marked_wrong for record in section.records),
        FAILED: any(record.failed for record in section.records),
        INEXACT: not all(row.exact for row in table),
        BOTH: any(scale.of_upper for scale in scales),
        PROVED: any(scale.proved for scale in scales),
    }
    return [". ".join(meaning for meaning, used in signs.items() if used) + "."]
