"""The leaderboard: every cell as a short row, in which names are numbers, best first."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from seqrl_jax.report import words
from seqrl_jax.report.site.links import Links, sheet_page
from seqrl_jax.report.site.sheet import Sheet
from seqrl_jax.report.table import ALWAYS, Row, Scaled
from seqrl_jax.results.record import Record
from seqrl_jax.results.statistics import Estimate


class Cell(NamedTuple):
    """What the leaderboard shows of a record. table, task, agent: places in `Names`. Numbers that a reader sees as text
    stand beside it, rounded, so that they sort; None where there is none."""

    table: int
    task: int
    agent: int
    score: float | None
    score_text: str
    normalised: float | None
    normalised_text: str
    memory: float | None
    memory_text: str
    seeds: int
    failed: int
    steps: int
    seconds: float
    record: int


class Names(NamedTuple):
    """What rows name by numbers: dictionaries with "name", "href" and "track"; agents have "label" and "wrong", too."""

    tables: list[dict[str, Any]]
    tasks: list[dict[str, Any]]
    agents: list[dict[str, Any]]


def names(made: Sequence[Sheet], where: Links) -> Names:
    """Of every sheet, task and agent."""
    wrong = {(sheet.section.track.name, method) for sheet in made for method in sheet.wrong}
    return Names(
        tables=[{"name": sheet.source, "href": sheet_page(sheet), "track": sheet.section.track.name} for sheet in made],
        tasks=[{"name": task, "href": href, "track": track} for (track, task), href in where.tasks.items()],
        agents=[
            {
                "name": method,
                "label": words.name(method, (track, method) in wrong),
                "wrong": (track, method) in wrong,
                "href": href,
                "track": track,
            }
            for (track, method), href in where.agents.items()
        ],
    )


def cells(made: Sequence[Sheet], where: Links) -> list[Cell]:
    """The rows of every cell, the best normalised score first, those without one last."""
    tasks, agents = where.task_numbers, where.agent_numbers
    found = []
    for number, sheet in enumerate(made):
        track, records = sheet.section.track, {(r.task, r.method): r for r in sheet.section.records}
        for row in sheet.rows:
            if row.kind == "agent":
                place = (number, tasks[track.name, row.task], agents[track.name, row.method])
                found.append(_cell(sheet, row, records[row.task, row.method], place))
    return sorted(found, key=lambda cell: -cell.normalised if cell.normalised is not None else math.inf)


def _cell(sheet: Sheet, row: Row, record: Record, place: tuple[int, int, int]) -> Cell:
    normalised, memory = (row.scales.get(name) for name in ALWAYS)
    return Cell(
        *place,
        score=_rounded(row.score),
        score_text="failed" if row.failed_wholly else _text(row.score, words.figures),
        normalised=_rounded(normalised.value if normalised else None),
        normalised_text=_scaled_text(normalised),
        memory=_rounded(memory.value if memory else None),
        memory_text=_scaled_text(memory),
        seeds=row.seeds,
        failed=row.failed,
        steps=record.steps_made,
        seconds=float(f"{record.spent.training / record.cells:.3g}"),
        record=sheet.numbers[row.task, row.method],
    )


def _rounded(value: Estimate | None) -> float | None:
    return None if value is None else float(f"{value.value:.6g}")


def _scaled_text(scaled: Scaled | None) -> str:
    if scaled is None:
        return words.NONE
    return _text(scaled.value, words.two, "*" if scaled.proved else "")


def _text(value: Estimate | None, number: Callable[[float | None], str], mark: str = "") -> str:
    """`0.53* [0.50, 0.56]`"""
    if value is None:
        return words.NONE
    if value.low is None or value.high is None:
        return f"{number(value.value)}{mark} {words.NONE}"
    return f"{number(value.value)}{mark} [{number(value.low)}, {number(value.high)}]"
