"""Records held against what this machine and this code make of the same cells."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Literal

from seqrl_jax.results.record import TOLERANCE, Record
from seqrl_jax.results.statistics import estimate
from seqrl_jax.runs.identity import as_json
from seqrl_jax.runs.observer import Observer
from seqrl_jax.runs.plan import Order
from seqrl_jax.runs.runner import run
from seqrl_jax.tracks.base import Budget, Track


@dataclass(frozen=True)
class Verdict:
    """What became of a cell that was run again.

    verdict: `same`: every number of every metric, bit for bit; `inside`: the means of the score differ by no more than
    95 of 100 pairs of such cells do; `different`: they differ by more, or something else that is recorded of the cell
    is not so, as what is proved; `other`: the cell cannot be run as it was. why: a sentence.
    """

    method: str
    task: str
    verdict: Literal["same", "inside", "different", "other"]
    why: str


def sampled(records: Sequence[Record], count: int, seed: int) -> list[Record]:
    """So many of the records, at random but the same for the same seed; all of them where there are no more."""
    ordered = sorted(records, key=lambda record: (record.track, record.method, record.task))
    return Random(seed).sample(ordered, min(count, len(ordered)))


def verify(record: Record, tracks: Mapping[str, Track], observer: Observer | None = None) -> Verdict:
    """Run a recorded cell again, by itself, with its own seeds and budget.

    A row of several tasks rounds otherwise than each by itself, and learning lets that grow: bits agree at best where
    the cell was run alone, with the same versions on the same kind of machine.
    Raises: what `runner.run` raises.
    """
    say = lambda verdict, why: Verdict(record.method, record.task, verdict, why)
    track = tracks.get(record.track)
    if track is None:
        return say("other", f"there is no track {record.track!r} here")
    evaluations = record.config.get("evaluations", 1)
    if type(evaluations) is not int or evaluations < 1:
        return say("other", f"evaluations is {evaluations!r}, expected a whole number of 1 or more")
    budget = Budget(record.steps_asked, evaluations, tuple(record.seeds))
    try:
        track.check([record.task], [record.method])
        (problem,) = track.problems([record.task], lambda done, total: None)
        settings = as_json(track.config(record.method, problem, budget))
    except (ValueError, OSError) as error:
        return say("other", str(error))
    if problem.fingerprint != record.task_fingerprint:
        return say("other", "the task is not what it was")
    if changed := sorted(_changed(record.config, settings)):
        return say("other", f"settings are not what they were: {', '.join(changed)}")
    with TemporaryDirectory() as directory:
        order = Order(track, [record.method], [problem], budget, record.suite)
        (again,) = run(order, Path(directory), observer)
    return say(*compared(record, again, track.columns[0].metric))


def compared(record: Record, again: Record, metric: str) -> tuple[Literal["same", "inside", "different"], str]:
    """How the same cell of another run stands to a record, by the metric that is its score."""
    if untrue := sorted(_untrue(record, again)):
        return "different", f"not what it was: {', '.join(untrue)}"
    # What is measured now may be more than an older record says.
    measured = {name: values for name, values in again.metrics.items() if name in record.metrics}
    if (record.metrics, record.failures) == (measured, again.failures):
        return "same", "every number of every metric"
    values, fresh = record.finished(metric), again.finished(metric)
    if not values or not fresh:
        return "different", f"{len(fresh)} seeds finished, {len(values)} had"
    was, now = estimate(values), estimate(fresh)
    if was.low is None or was.high is None or now.low is None or now.high is None:
        return "different", f"{metric} {now.value:.6g}, was {was.value:.6g}, and one seed has no interval"
    scores = f"{metric} {now.value:.6g}, was {was.value:.6g} [{was.low:.6g}, {was.high:.6g}]"
    # Both means vary: of two independent ones the sides of the intervals that face each other add as squares do.
    upper, lower = (now, was) if now.value > was.value else (was, now)
    room = math.hypot((upper.value - (upper.low or 0.0)), ((lower.high or 0.0) - lower.value))
    # Where all seeds score alike the interval is a point, and rounding is no difference.
    slack = TOLERANCE * max(1.0, abs(now.value))
    return ("inside" if upper.value - lower.value <= room + slack else "different"), scores


def _untrue(record: Record, again: Record) -> Iterator[str]:
    """What a record says beside its numbers, and a run of the same cell says otherwise."""
    for name in ("bounded_by", "marked_wrong", "policy", "episodes"):
        if getattr(record, name) != getattr(again, name):
            yield name
    for name in record.bounds.keys() | again.bounds.keys():
        one, other = record.bounds.get(name), again.bounds.get(name)
        if one is None or other is None or not one.meets(other):
            yield f"bounds.{name}"


def _changed(before: Mapping[str, object], after: Mapping[str, object], prefix: str = "") -> set[str]:
    """The settings that differ, by their places."""
    places = set()
    for key in before.keys() | after.keys():
        old, new = before.get(key), after.get(key)
        if isinstance(old, dict) and isinstance(new, dict):
            places |= _changed(old, new, f"{prefix}{key}.")
        elif old != new:
            places.add(prefix + key)
    return places
