"""Two methods, or two runs of the same ones, against each other: paired by task and by seed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from seqrl_jax.figures import printable
from seqrl_jax.report.grid import Grid, Line
from seqrl_jax.report.sections import Section, newest
from seqrl_jax.report.table import counted_scores
from seqrl_jax.report.words import listed, with_failures, with_interval
from seqrl_jax.results.record import TOLERANCE, Record
from seqrl_jax.results.statistics import Estimate, difference, probability_of_improvement

Pair = tuple[Record, Record]


@dataclass(frozen=True, kw_only=True)
class Compared:
    """The second of a pair of records minus the first, over the seeds that both ran.

    pairs: seeds that both finished. difference: of the score, over these; None without any. scaled: of the score on the
    track's first scale, failed seeds counted, as 0 at best; None where the task does not allow it. metrics: of the
    track's other columns, over the seeds that both have them for.
    """

    track: str
    task: str
    methods: tuple[str, str]
    pairs: int
    failed: int
    difference: Estimate | None
    scaled: Estimate | None
    metrics: Mapping[str, Estimate]


@dataclass(frozen=True, kw_only=True)
class ComparedOverall:
    """The same over tasks. improvement: the chance that a run of the second scores higher than one of the first on the
    same task."""

    track: str
    methods: tuple[str, str]
    tasks: int
    difference: Estimate
    improvement: Estimate


def pairs(first: Section, second: Section, methods: tuple[str, str] | None) -> list[Pair]:
    """Records of the same task: of the two methods that are asked for, or of each method that both sections hold."""
    theirs = {(record.task, record.method): record for record in second.records}
    matched = []
    for record in first.records:
        wanted = record.method if methods is None else methods[1]
        other = theirs.get((record.task, wanted))
        if other is not None and (methods is None or record.method == methods[0]):
            matched.append((record, other))
    return matched


def unpaired(
    first: Sequence[Section], second: Sequence[Section], methods: tuple[str, str] | None
) -> tuple[list[Record], list[Record]]:
    """The records of the first without one of the second beside them, and those of the second without one of the
    first; of the two methods that are asked for, or of all."""
    mine, theirs = (
        {
            (record.track, record.task, record.method if methods is None else ""): record
            for section in sections
            for record in section.records
            if methods is None or record.method == methods[place]
        }
        for place, sections in enumerate((first, second))
    )
    alone = lambda one, other: [record for cell, record in one.items() if cell not in other]
    return alone(mine, theirs), alone(theirs, mine)


def cells(records: Sequence[Record]) -> list[str]:
    """Records in words, a line for each method."""
    tasks: dict[str, list[str]] = {}
    for record in records:
        tasks.setdefault(record.method, []).append(record.task)
    return [f"{method} on {listed(names)}" for method, names in tasks.items()]


def compare(section: Section, pairs: Sequence[Pair]) -> list[Compared]:
    """A row for each pair of records of one track. section: of the track, whose scale and score count."""
    score, *others = section.track.columns
    rows = []
    for one, other in pairs:
        finished, seeds = finished_pairs(one, other, score.metric)
        metrics = {column.metric: finished_pairs(one, other, column.metric)[0] for column in others}
        scaled = scaled_pairs(section, one, other)
        rows.append(
            Compared(
                track=section.track.name,
                task=one.task,
                methods=(one.method, other.method),
                pairs=len(finished),
                failed=seeds - len(finished),
                difference=_second_minus_first([finished]) if finished else None,
                scaled=_second_minus_first([scaled]) if scaled else None,
                metrics={metric: _second_minus_first([both]) for metric, both in metrics.items() if both},
            )
        )
    return rows


def compare_overall(section: Section, pairs: Sequence[Pair]) -> list[ComparedOverall]:
    """A row for each two methods that were paired, over the tasks on which the track's first scale is defined."""
    differences = []
    for methods in dict.fromkeys((one.method, other.method) for one, other in pairs):
        mine = [pair for pair in pairs if (pair[0].method, pair[1].method) == methods]
        samples = [scaled for one, other in mine if (scaled := scaled_pairs(section, one, other))]
        if samples:
            first, second = ([[pair[index] for pair in task] for task in samples] for index in (0, 1))
            differences.append(
                ComparedOverall(
                    track=section.track.name,
                    methods=methods,
                    tasks=len(samples),
                    difference=_second_minus_first(samples),
                    improvement=probability_of_improvement(second, first),
                )
            )
    return differences


def for_machines(row: Compared | ComparedOverall) -> dict[str, Any]:
    """The fields of a row, methods as "agents"; an estimate is {"value", "low", "high"} or null."""
    fields = msgspec.to_builtins(row)
    return {"agents": fields.pop("methods"), **fields}


def cell_for_machines(record: Record) -> dict[str, str]:
    """The fields of a record without a partner."""
    return {"track": record.track, "task": record.task, "agent": record.method}


def caveats(pairs: Sequence[Pair]) -> list[str]:
    """Why a difference need not be the methods': tasks that are not the same in both, or of which other values are
    proved, budgets that differ."""
    changed = dict.fromkeys(one.task for one, other in pairs if one.task_fingerprint != other.task_fingerprint)
    proved = dict.fromkeys(one.task for one, other in pairs if one.task not in changed and not _agree(one, other))
    budgets: dict[tuple[int, int], dict[str, None]] = {}
    for one, other in pairs:
        if one.steps_asked != other.steps_asked:
            budgets.setdefault((one.steps_asked, other.steps_asked), {})[_both((one.method, other.method))] = None
    return [
        *(f"{task} is not the same task in both" for task in changed),
        *(f"{task} has other certified values in the two: both are scaled by those of the last" for task in proved),
        *(
            f"{first:,} steps of training against {second:,}: {', '.join(methods)}"
            for (first, second), methods in budgets.items()
        ),
    ]


def grids(section: Section, pairs: Sequence[Pair]) -> list[Grid]:
    """What a terminal shows of them."""
    score, *others = section.track.columns
    rows, total = compare(section, pairs), compare_overall(section, pairs)
    columns: dict[str, list[Estimate | None]] = {
        printable(score.label): [row.difference for row in rows],
        "scaled": [row.scaled for row in rows],
        **{printable(column.label): [row.metrics.get(column.metric) for row in rows] for column in others},
    }
    columns = {name: values for name, values in columns.items() if any(values) or name == score.label}
    seeds = [with_failures(str(row.pairs), row.failed, row.pairs + row.failed) for row in rows]
    shown = [*([with_interval(value) for value in values] for values in columns.values()), seeds]
    alike = len({row.methods for row in rows}) == 1
    labels = [printable(row.task) if alike else f"{printable(row.task)}, {_both(row.methods)}" for row in rows]
    what = _minus(rows[0].methods) if alike else "second minus first"
    lines = [Line(label, entries) for label, entries in zip(labels, zip(*shown, strict=True), strict=True)]
    tables = [Grid(f"{section.track.name}: {what}, with 95% intervals", [*columns, "pairs of seeds"], lines)]
    if total:
        over = [
            Line(_minus(row.methods), [with_interval(row.difference), with_interval(row.improvement), str(row.tasks)])
            for row in total
        ]
        title = f"Over tasks, {section.track.scales[0].name} score, with 95% intervals"
        tables.append(Grid(title, ["difference", "P(second scores higher)", "tasks"], over))
    return tables


def _minus(methods: tuple[str, str]) -> str:
    first, second = map(printable, methods)
    return f"{first}, second minus first" if first == second else f"{second} minus {first}"


def _both(methods: tuple[str, str]) -> str:
    first, second = map(printable, methods)
    return first if first == second else f"{first}, {second}"


def _agree(one: Record, other: Record) -> bool:
    """Whether the same values are proved in two records, but for rounding."""
    return one.bounds.keys() == other.bounds.keys() and all(
        math.isclose(mine, theirs, rel_tol=TOLERANCE, abs_tol=TOLERANCE)
        for name, bound in one.bounds.items()
        for mine, theirs in ((bound.lower, other.bounds[name].lower), (bound.upper, other.bounds[name].upper))
    )


def scaled_pairs(section: Section, one: Record, other: Record) -> list[tuple[float, float]]:
    """[pairs] scores on the track's first scale, failed seeds counted; nothing where the task does not allow it.

    The scale is one for both: where they do not agree on what is proved, that of the record made last.
    """
    bounds = newest((one, other)).bounds
    scores = counted_scores(section.track, one, bounds), counted_scores(section.track, other, bounds)
    return _paired(one, other, *scores) if all(scores) else []


def finished_pairs(one: Record, other: Record, metric: str) -> tuple[list[tuple[float, float]], int]:
    """The pairs of a metric that are there, and how many seeds both ran."""
    nothing = [None] * len(one.seeds), [None] * len(other.seeds)
    values = (record.metrics.get(metric, none) for record, none in zip((one, other), nothing))
    both = _paired(one, other, *values)
    return [pair for pair in both if None not in pair], len(both)


def _paired(one: Record, other: Record, first: Sequence[Any], second: Sequence[Any]) -> list[tuple[Any, Any]]:
    """Entries of the seeds that both have, in the order of the first."""
    theirs = dict(zip(other.seeds, second, strict=True))
    return [(mine, theirs[seed]) for seed, mine in zip(one.seeds, first, strict=True) if seed in theirs]


def _second_minus_first(samples: Sequence[Sequence[tuple[float, float]]]) -> Estimate:
    return difference([[(second, first) for first, second in task] for task in samples])
