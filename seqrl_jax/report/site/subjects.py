"""What the pages of a task and of an agent show: what each is, and what every table of the site says of it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from seqrl_jax.report import words
from seqrl_jax.report.site.audited import Audited
from seqrl_jax.report.site.drawings import learning_curves, sensitivity, sizes_on
from seqrl_jax.report.site.links import Links, record_page, sheet_page
from seqrl_jax.report.site.sheet import Sheet
from seqrl_jax.report.site.tables import configurations, position
from seqrl_jax.report.table import Row
from seqrl_jax.results.record import Record
from seqrl_jax.tracks.base import Entry, Track
from seqrl_jax.tracks.sweeps import sweeps

BEST = 20
"""Cells on a page where its section has more than a table shows: the leaderboard has all of them."""


@dataclass(frozen=True)
class Subject:
    """A task or an agent. entry: what its registry says of its name, None of a name that it does not know. facts: what
    -> words."""

    track: Track
    name: str
    entry: Entry | None
    facts: Mapping[str, str]

    @property
    def settings(self) -> str:
        """What is set beside its name."""
        return self.name.partition(":")[2]


def task_context(made: Sequence[Sheet], where: Links, audited: Audited, subject: Subject) -> dict[str, Any]:
    """What the template shows of a task."""
    track, task = subject.track, subject.name
    mine = [sheet for sheet in made if sheet.section.track.name == track.name and task in sheet.section.tasks]
    return {
        "subject": subject,
        "facts": [(what, text, where.tasks.get((track.name, text))) for what, text in subject.facts.items()],
        "parts": [_task_part(sheet, where, audited, task) for sheet in mine],
    }


def agent_context(made: Sequence[Sheet], where: Links, audited: Audited, subject: Subject) -> dict[str, Any]:
    """What the template shows of an agent."""
    track, method = subject.track, subject.name
    mine = [sheet for sheet in made if sheet.section.track.name == track.name and method in sheet.section.methods]
    sweep = sweeps().get((track.name, method))
    return {
        "subject": subject,
        "sweep": sweep,
        "sensitivity": sensitivity(sweep) if sweep else None,
        "wrong": any(method in sheet.wrong for sheet in mine),
        "parts": [_agent_part(sheet, where, audited, method) for sheet in mine],
    }


def _task_part(sheet: Sheet, where: Links, audited: Audited, task: str) -> dict[str, Any]:
    section, records, bounds = sheet.section, sheet.section.tasks[task], sheet.section.bounds(task)
    rows = sheet.rows_of_task[task]
    shown = _best(sheet, rows)
    charts = learning_curves(sheet, task)
    return {
        "sheet": sheet,
        "href": sheet_page(sheet),
        "certified": any(row.certified for row in rows),
        "charts": charts,
        "sizes": sizes_on(sheet, task),
        "bounds": [
            {"name": words.bound(name), "about": section.track.bounds.get(name, ""), "bound": bound}
            for name, bound in bounds.items()
        ],
        "audited": _audited(audited, rows),
        "sized": _sized(sheet, rows),
        "rows": [_row(sheet, row, where.agents.get((row.track, row.method)), row.label) for row in shown],
        "rest": _rest(rows, shown, f"task={where.task_numbers[section.track.name, task]}"),
        "episodes": _episodes(records),
        "fingerprint": records[-1].task_fingerprint,
        "commands": sorted({record.command for record in records if record.command}) or ["unknown"],
    }


def _agent_part(sheet: Sheet, where: Links, audited: Audited, method: str) -> dict[str, Any]:
    rows = sheet.rows_of_method[method]
    shown = _best(sheet, rows)
    records = sheet.section.methods[method]
    return {
        "sheet": sheet,
        "href": sheet_page(sheet),
        "overall": next((row for row in sheet.overall if row.kind == "agent" and row.method == method), None),
        "audited": _audited(audited, rows),
        "sized": _sized(sheet, rows),
        "rows": [_row(sheet, row, where.tasks[row.track, row.task], row.task) for row in shown],
        "rest": _rest(rows, shown, f"agent={where.agent_numbers[sheet.section.track.name, method]}"),
        "configurations": configurations(sheet, method),
        "policies": words.listed(sorted({record.policy for record in records})),
        "commands": sorted({record.command for record in records if record.command}) or ["unknown"],
        "warnings": [f"{record.task}: {text}" for record in records for text in record.warnings],
    }


def _best(sheet: Sheet, rows: Sequence[Row]) -> Sequence[Row]:
    """What is proved, and the cells that a page has room for, by the track's first scale."""
    if sheet.section.fits_a_table:
        return rows
    first = [scale.name for scale in sheet.section.track.scales[:1]]
    score = lambda row: max((row.scales[name].value.value for name in first if name in row.scales), default=-math.inf)
    agents = [row for row in rows if row.kind == "agent"]
    return [*(row for row in rows if row.kind == "certified"), *sorted(agents, key=score, reverse=True)[:BEST]]


def _rest(rows: Sequence[Row], best: Sequence[Row], filtered: str) -> dict[str, Any] | None:
    """Where the cells stand that `_best` leaves out: how many are shown, of how many, and the leaderboard, filtered."""
    every, shown = (sum(row.kind == "agent" for row in part) for part in (rows, best))
    return {"shown": shown, "every": every, "href": f"index.html#{filtered}"} if shown < every else None


def _audited(audited: Audited, rows: Sequence[Row]) -> Audited | None:
    """What the audit says of the agents of these rows, if it says anything."""
    return audited if any(row.kind == "agent" and (row.task, row.method) in audited.bias for row in rows) else None


def _sized(sheet: Sheet, rows: Sequence[Row]) -> bool:
    """Whether any of these rows trains networks whose parameters are known."""
    return any((row.task, row.method) in sheet.parameters for row in rows if row.kind == "agent")


def _row(sheet: Sheet, row: Row, href: str | None, label: str) -> dict[str, Any]:
    """One line of a table: its score, its scores between bounds, and its other columns. href: of what label says."""
    track, trained = sheet.section.track, row.kind == "agent"
    first = row.scales.get(track.scales[0].name) if track.scales else None
    return {
        "row": row,
        "label": label,
        "href": href if trained else None,
        "record": record_page(sheet.numbers[row.task, row.method]) if trained else None,
        "style": sheet.styles[row.method] if trained else None,
        "scales": [row.scales.get(scale.name) for scale in track.scales],
        "metrics": [row.metrics.get(column.metric) for column in track.columns[1:]],
        "parameters": sheet.parameters.get((row.task, row.method)) if trained else None,
        "middle": None if first is None else position(first.value.value),
    }


def _episodes(records: Sequence[Record]) -> list[str]:
    """How the scores of a task were found, in words."""
    numbers = sorted({count for record in records for count in record.episodes if count is not None})
    exact = any(count is None for record in records for count in record.episodes)
    return [*(["exact"] if exact else []), *(words.counted(number, "episode") for number in numbers)]
