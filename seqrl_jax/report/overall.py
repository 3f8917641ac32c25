"""Aggregates over tasks, a row for each method: each number with its own interval, and the worst task by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from seqrl_jax.report import words
from seqrl_jax.report.sections import Section
from seqrl_jax.report.table import Kind
from seqrl_jax.results.record import Policy
from seqrl_jax.results.scores import between
from seqrl_jax.results.statistics import (
    Estimate,
    Statistic,
    aggregates,
    iqm,
    mean,
    median,
    optimality_gap,
    performance_profile,
    probability_of_improvement,
)
from seqrl_jax.results.task_statistics import value
from seqrl_jax.tracks.base import Scale

STATISTICS: Mapping[str, Statistic] = {"mean": mean, "median": median, "IQM": iqm, "optimality gap": optimality_gap}
THRESHOLDS = tuple(tenth / 10 for tenth in range(11))
"""Of performance profiles."""


@dataclass(frozen=True, kw_only=True)
class Overall:
    """What one method reached over the tasks on which the track's first scale is defined; failed seeds are 0 at best.

    kind: "agent", or "certified"; then `method` is the name of a bound, and an interval reaches from the aggregate of
    the lower ends to that of the upper ones, which enclose it because every statistic is monotone. tasks: how many
    count. statistics: by the names of STATISTICS. worst_task: the one with the lowest mean, which is worst_score.
    """

    track: str
    method: str
    kind: Kind
    scale: str
    marked_wrong: bool = False
    policies: tuple[Policy, ...] = ()
    tasks: int
    seeds: int = 0
    failed: int = 0
    statistics: Mapping[str, Estimate]
    worst_task: str
    worst_score: float

    @property
    def label(self) -> str:
        """The method's name as it is shown."""
        return words.bound(self.method) if self.kind == "certified" else words.name(self.method, self.marked_wrong)


def overall(section: Section) -> list[Overall]:
    """What is proved, then the methods, best IQM first. Nothing where the track has no scale, or no task allows it."""
    if not section.track.scales:
        return []
    scale = section.track.scales[0]
    methods = [row for method in section.methods if (row := _method(section, scale, method))]
    proved = [row for name in section.track.bounds if (row := _proved(section, scale, name))]
    return proved + sorted(methods, key=lambda row: -row.statistics["IQM"].value)


def for_machines(row: Overall) -> dict[str, Any]:
    """{"track", "agent", "kind", "marked_wrong", "policies", "scale", "tasks", "seeds", "failed", "mean", "median",
    "iqm", "optimality_gap", "worst": {"task", "score"}}; the four are {"value", "low", "high"}, with null for ends that
    one seed cannot give."""
    return {
        "track": row.track,
        "agent": row.method,
        "kind": row.kind,
        "marked_wrong": row.marked_wrong,
        "policies": list(row.policies),
        "scale": row.scale,
        "tasks": row.tasks,
        "seeds": row.seeds,
        "failed": row.failed,
        **{name.lower().replace(" ", "_"): estimate.as_json() for name, estimate in row.statistics.items()},
        "worst": {"task": row.worst_task, "score": row.worst_score},
    }


def profile(section: Section, row: Overall, thresholds: Sequence[float] = THRESHOLDS) -> list[Estimate]:
    """The share of a method's runs over all tasks whose score exceeds each threshold."""
    return performance_profile(list(section.samples[row.method].values()), thresholds)


def profiles_for_machines(section: Section) -> list[dict[str, Any]]:
    """[{"track", "agent", "profile": [{"above", "value", "low", "high"}]}]"""
    return [
        {
            "track": row.track,
            "agent": row.method,
            "profile": [{"above": above, **share.as_json()} for above, share in zip(THRESHOLDS, profile(section, row))],
        }
        for row in overall(section)
        if row.kind == "agent"
    ]


@dataclass(frozen=True)
class Improvement:
    """P(a run of the first method scores higher than one of the second on the same task), averaged over tasks."""

    track: str
    methods: tuple[str, str]
    tasks: int
    probability: Estimate


def improvement(section: Section, first: str, second: str) -> Improvement | None:
    """None where there is no task on which both have a score on the track's first scale."""
    one, other = (section.samples.get(method, {}) for method in (first, second))
    both = [task for task in one if task in other]
    if not both:
        return None
    probability = probability_of_improvement([one[task] for task in both], [other[task] for task in both])
    return Improvement(section.track.name, (first, second), len(both), probability)


def improvement_for_machines(row: Improvement) -> dict[str, Any]:
    """{"track", "agents", "tasks", "value", "low", "high"}"""
    return {"track": row.track, "agents": list(row.methods), "tasks": row.tasks, **row.probability.as_json()}


def _method(section: Section, scale: Scale, method: str) -> Overall | None:
    records, scores = section.methods[method], section.samples.get(method)
    if not scores:
        return None
    worst_score, worst_task = min((fmean(values), task) for task, values in scores.items())
    found = aggregates(list(scores.values()), list(STATISTICS.values()))
    return Overall(
        track=section.track.name,
        method=method,
        kind="agent",
        scale=scale.name,
        marked_wrong=any(record.marked_wrong for record in records),
        policies=tuple(sorted({record.policy for record in records})),
        tasks=len(scores),
        seeds=sum(len(record.seeds) for record in records if record.task in scores),
        failed=sum(record.failed for record in records if record.task in scores),
        statistics=dict(zip(STATISTICS, found, strict=True)),
        worst_task=worst_task,
        worst_score=worst_score,
    )


def _proved(section: Section, scale: Scale, name: str) -> Overall | None:
    """Of a bound on those tasks where the scale is defined and the bound is there."""
    proved = {task: section.bounds(task).get(name) for task in section.first_scale}
    lower = {task: _on_scale(section, task, bound.lower) for task, bound in proved.items() if bound}
    if not lower:
        return None
    upper = {task: _on_scale(section, task, bound.upper) for task, bound in proved.items() if bound}
    worst_score, worst_task = min((value, task) for task, value in lower.items())
    return Overall(
        track=section.track.name,
        method=name,
        kind="certified",
        scale=scale.name,
        tasks=len(lower),
        statistics={name: _enclosed(statistic, lower, upper) for name, statistic in STATISTICS.items()},
        worst_task=worst_task,
        worst_score=worst_score,
    )


def _on_scale(section: Section, task: str, J: float) -> float:
    """A return of a task on the track's first scale, which is defined there."""
    _, ends = section.first_scale[task]
    return between(J, *ends)


def _enclosed(statistic: Statistic, lower: Mapping[str, float], upper: Mapping[str, float]) -> Estimate:
    """The statistic of the lower ends, with what lies between it and that of the upper ends for its interval."""
    values = [value(statistic, list(ends.values())) for ends in (lower, upper)]
    return Estimate(values[0], min(values), max(values))
