"""One number of every agent on every task of a table, as its page shows them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from seqrl_jax.report import words
from seqrl_jax.report.overall import Overall
from seqrl_jax.report.site.links import Links, record_page
from seqrl_jax.report.site.sheet import Sheet
from seqrl_jax.report.table import Row
from seqrl_jax.results.statistics import Estimate
from seqrl_jax.tracks.base import Column, Scale


@dataclass(frozen=True)
class _Shown:
    """One number of every cell.

    of: a row -> the number, None where it has none. expected: whether a row that failed wholly would have had it.
    shaded: whether 0 and 1 mean the same on every task, so that colours compare them.
    """

    title: str
    about: str
    of: Callable[[Row], Estimate | None]
    expected: Callable[[Row], bool]
    shaded: bool


def matrices(sheet: Sheet, where: Links) -> list[dict[str, Any]]:
    """Methods by tasks: the scores on each of the track's scales; without any, every column. Nothing where the
    leaderboard serves."""
    track = sheet.section.track
    if not sheet.section.fits_a_table:
        return []
    if sheet.overall:
        shown = [_on_scale(scale) for scale in track.scales]
    else:
        shown = [_in_column(column, first=column is track.columns[0]) for column in track.columns]
    return [matrix for each in shown if (matrix := _matrix(sheet, where, each))["rows"]]


def _on_scale(scale: Scale) -> _Shown:
    value = lambda row: row.scales[scale.name].value if scale.name in row.scales else None
    return _Shown(f"{scale.name.capitalize()} score", scale.about, value, lambda row: row.certified, shaded=True)


def _in_column(column: Column, first: bool) -> _Shown:
    value = lambda row: row.score if first else row.metrics.get(column.metric)
    return _Shown(column.label[:1].upper() + column.label[1:], column.unit, value, lambda _: first, shaded=False)


def _matrix(sheet: Sheet, where: Links, shown: _Shown) -> dict[str, Any]:
    """One number of every method on every task, each linked to its record; without those that have none."""
    stands = lambda row: shown.of(row) or (row.failed_wholly and shown.expected(row))
    by_name = {(row.task, row.kind, row.method): row for row in sheet.rows if stands(row)}
    present = {task for task, _, _ in by_name}
    tasks = [task for task in sheet.section.tasks if task in present]
    track = sheet.section.track.name
    subjects: Sequence[Overall | Row] = sheet.overall or sorted(sheet.rows, key=lambda row: row.kind == "agent")
    labels = {(row.kind, row.method): row.label for row in subjects}
    return {
        "title": shown.title,
        "about": shown.about,
        "tasks": [(task, where.tasks[track, task]) for task in tasks],
        "rows": [
            {
                "label": labels[kind, method],
                "kind": kind,
                "href": where.agents.get((track, method)) if kind == "agent" else None,
                "entries": [_matrix_entry(sheet, by_name.get((task, kind, method)), shown) for task in tasks],
            }
            for kind, method in labels
            if any((task, kind, method) in by_name for task in tasks)
        ],
    }


def _matrix_entry(sheet: Sheet, row: Row | None, shown: _Shown) -> dict[str, Any]:
    """shade: of the cell, from -1 to 1."""
    if row is None:
        return {"text": "", "shade": 0.0, "href": None}
    href = record_page(sheet.numbers[row.task, row.method]) if row.kind == "agent" else None
    if (value := shown.of(row)) is None:
        return {"text": "failed", "shade": 0.0, "href": href}
    text = words.with_failures(words.two(value.value) + ("" if row.exact else "~"), row.failed, row.seeds)
    shade = max(-1.0, min(value.value, 1.0)) if shown.shaded and row.kind == "agent" else 0.0
    return {"text": text, "shade": shade, "href": href}
