"""The table as data: a row for each task and method or proved value, and the same numbers for machines."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from msgspec import Struct, field

from seqrl_jax.report import words
from seqrl_jax.report.sections import Section, changed_tasks
from seqrl_jax.results.record import Bound, Policy, Record
from seqrl_jax.results.scores import MIN_SHARE, between, exceeds_bound, proves_above, scale_ends, scaled_counted
from seqrl_jax.results.statistics import Estimate, estimates
from seqrl_jax.tracks.base import Column, Scale, Track

Kind = Literal["agent", "certified"]
ALWAYS = ("normalised", "memory")
"""Scales that every row has for machines, null where its track or its task has none."""


SCALED_WHERE = (
    f"A score between two proved values stands where that of 1 is proved to exceed that of 0 by more than "
    f"{MIN_SHARE:.2%} of what is proved of the task, from the lowest value to the highest."
)


class Scaled(Struct, frozen=True):
    """A score between two bounds.

    value: 0 at the lower end of the first bound. of_upper: 0 at its upper end, None where the two agree. proved: the
    score lies above the first bound, upper end included, by more than chance explains.
    """

    value: Estimate
    of_upper: Estimate | None
    proved: bool


class Row(Struct, frozen=True, kw_only=True):
    """What one method reached on one task, or what is proved about it.

    kind: "agent" or "certified"; then `method` is the name of the bound, `seeds` is 0, and estimates are the lower end
    with both ends as their interval. score: of the track's first column, None where no seed finished. scales: the score
    on those scales of the track that the task's bounds allow. metrics: of the other columns. certified: whether the
    task allows the track's first scale. exact: whether both ends of what is proved agree; of a method nothing is.
    """

    track: str
    task: str
    method: str
    kind: Kind
    marked_wrong: bool = False
    policy: Policy | None = None
    seeds: int = 0
    failed: int = 0
    certified: bool
    exact: bool = True
    score: Estimate | None
    scales: Mapping[str, Scaled]
    metrics: Mapping[str, Estimate] = field(default_factory=dict)
    warnings: Sequence[str] = ()

    @property
    def label(self) -> str:
        """The method's name as it is shown."""
        return words.bound(self.method) if self.kind == "certified" else words.name(self.method, self.marked_wrong)

    @property
    def failed_wholly(self) -> bool:
        """Whether it ran, and no seed has a score."""
        return bool(self.seeds) and self.failed == self.seeds


def rows(section: Section) -> list[Row]:
    """For each task what is proved about it, then its methods."""
    table: list[Row] = []
    track, over_seeds = section.track, _over_seeds(section)
    proved = _proved_above(section, over_seeds)
    columns, scales = track.columns, track.scales
    for task, records in section.tasks.items():
        bounds, on = section.bounds(task), _scales_on(section, task)
        certified = bool(on) and on[0].scale == scales[0]
        table += [_proved_row(track.name, task, name, bounds[name], on, certified) for name in bounds]
        table += [_method_row(record, columns, on, certified, over_seeds[id(record)], proved) for record in records]
    return table


def for_machines(row: Row) -> dict[str, Any]:
    """The fields that machines may rely on.

    {"track", "task", "agent", "kind", "marked_wrong", "policy", "seeds", "failed", "certified", "score", "metrics",
    "warnings"} and one for each scale: "normalised", "memory" and what else the track has. score, every scale and every
    metric: {"mean", "low", "high"}, low and high null with fewer than two seeds; null as a whole where there is none. A
    scale also has "proved" and "of_upper", see `Scaled`.
    """
    return {
        "track": row.track,
        "task": row.task,
        "agent": row.method,
        "kind": row.kind,
        "marked_wrong": row.marked_wrong,
        "policy": row.policy,
        "seeds": row.seeds,
        "failed": row.failed,
        "certified": row.certified,
        "score": _mean(row.score),
        **dict.fromkeys(ALWAYS),
        **{
            name: {**(_mean(scale.value) or {}), "proved": scale.proved, "of_upper": _mean(scale.of_upper)}
            for name, scale in row.scales.items()
        },
        "metrics": {name: _mean(value) for name, value in row.metrics.items()},
        "warnings": list(row.warnings),
    }


def errors(section: Section) -> list[str]:
    """What makes the table wrong: scores above a proved bound, what else the track proves, tasks that changed."""
    metric = section.track.columns[0].metric
    above = [message for record in section.records if (message := exceeds_bound(record, metric))]
    return [*above, *section.track.errors(section.records), *changed_tasks(section)]


def without_scale(section: Section) -> list[str]:
    """A sentence for each scale that some tasks do not allow, though both of its bounds are there: which tasks."""
    sentences = []
    for scale in section.track.scales:
        close: list[str] = []
        unproved: list[str] = []
        for task in section.tasks:
            proved = section.bounds(task)
            if not {scale.zero, scale.one} <= set(proved) or scale_ends(proved, scale.zero, scale.one):
                continue
            zero, one = proved[scale.zero], proved[scale.one]
            (unproved if zero.lower < one.lower <= zero.upper else close).append(task)
        if close:
            sentences.append(f"No {scale.name} score on {words.listed(close)}: what is proved lies too close together.")
        if unproved:
            ends = f"{words.bound(scale.one)} exceeds {words.bound(scale.zero)}"
            sentences.append(f"No {scale.name} score on {words.listed(unproved)}: it is not proved that {ends}.")
    return sentences


def counted_scores(track: Track, record: Record, bounds: Mapping[str, Bound]) -> list[float]:
    """[N] a record's seeds on the track's first scale, failed ones counted; nothing where it is not defined.

    bounds: of the task, see `scaled_counted`.
    """
    if not track.scales:
        return []
    scale = track.scales[0]
    return scaled_counted(record, track.columns[0].metric, scale.zero, scale.one, bounds) or []


def _over_seeds(section: Section) -> dict[int, dict[str, Estimate]]:
    """id of a record -> metric -> its mean over the seeds that finished, of those that a table shows. All at once: one
    by one, intervals take nearly all of the time."""
    found: dict[int, dict[str, Estimate]] = {id(record): {} for record in section.records}
    for index, column in enumerate(section.track.columns):
        finished = [(record, values) for record in section.records if (values := record.finished(column.metric))]
        within = [(-math.inf, math.inf if index else _ceiling(record)) for record, _ in finished]
        means = estimates([values for _, values in finished], within)
        for (record, _), value in zip(finished, means, strict=True):
            found[id(record)][column.metric] = value
    return found


def _proved_above(section: Section, over_seeds: Mapping[int, Mapping[str, Estimate]]) -> set[tuple[str, int]]:
    """(scale, id of a record) where its seeds prove that its score lies above 0."""
    metric = section.track.columns[0].metric
    means = [over_seeds[id(record)].get(metric) for record in section.records]
    return {
        (scale.name, id(record))
        for scale in section.track.scales
        for record, proved in zip(section.records, proves_above(section.records, metric, scale.zero, means))
        if proved
    }


def _ceiling(record: Record) -> float:
    """The least that is proved that the score cannot pass."""
    return min([record.bounds[name].upper for name in record.bounded_by], default=math.inf)


def _method_row(
    record: Record,
    columns: Sequence[Column],
    on: Sequence[ScaleOnTask],
    certified: bool,
    over_seeds: Mapping[str, Estimate],
    proved: Collection[tuple[str, int]],
) -> Row:
    scored, *others = columns
    score = over_seeds.get(scored.metric)
    return Row(
        track=record.track,
        task=record.task,
        method=record.method,
        kind="agent",
        marked_wrong=record.marked_wrong,
        policy=record.policy,
        seeds=len(record.seeds),
        failed=record.failed,
        certified=certified,
        score=score,
        scales={one.scale.name: _scaled(score, one, (one.scale.name, id(record)) in proved) for one in on}
        if score
        else {},
        metrics={column.metric: over_seeds[column.metric] for column in others if column.metric in over_seeds},
        warnings=record.warnings,
    )


def _proved_row(track: str, task: str, name: str, bound: Bound, on: Sequence[ScaleOnTask], certified: bool) -> Row:
    value = Estimate(bound.lower, bound.lower, bound.upper)
    return Row(
        track=track,
        task=task,
        method=name,
        kind="certified",
        certified=certified,
        exact=bound.is_exact,
        score=value,
        scales={one.scale.name: _scaled(value, one, False) for one in on},
    )


@dataclass(frozen=True)
class ScaleOnTask:
    """A scale with the values that are its 0 and 1 on a task. zero_upper: the upper end of what is its 0, where that is
    an interval."""

    scale: Scale
    zero: float
    one: float
    zero_upper: float | None


def _scales_on(section: Section, task: str) -> list[ScaleOnTask]:
    """Those that a task allows."""
    bounds = section.bounds(task)
    return [
        ScaleOnTask(scale, *ends, None if bounds[scale.zero].is_exact else bounds[scale.zero].upper)
        for scale in section.track.scales
        if (ends := scale_ends(bounds, scale.zero, scale.one))
    ]


def _scaled(value: Estimate, on: ScaleOnTask, proved: bool) -> Scaled:
    """Means and the ends of intervals follow an increasing linear map, so that mapping them is enough."""
    of_upper = None if on.zero_upper is None else _mapped(value, on.zero_upper, on.one)
    return Scaled(_mapped(value, on.zero, on.one), of_upper, proved)


def _mapped(value: Estimate, zero: float, one: float) -> Estimate:
    low, high = (None if end is None else between(end, zero, one) for end in (value.low, value.high))
    return Estimate(between(value.value, zero, one), low, high)


def _mean(value: Estimate | None) -> dict[str, float | None] | None:
    return None if value is None else {"mean": value.value, "low": value.low, "high": value.high}
