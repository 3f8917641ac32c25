"""Records held against what this machine and this code make of the same cells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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

    verdict: `same`: every number of every metric, bit for bit; `inside`: the new mean of the score lies in the recorded
    95% interval; `different`: it does not; `other`: the cell cannot be run as it was. why: a sentence.
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
    budget = Budget(record.steps_asked, record.config.get("evaluations", 1), tuple(record.seeds))
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
    # What is measured now may be more than an older record says.
    measured = {name: values for name, values in again.metrics.items() if name in record.metrics}
    if (record.metrics, record.failures) == (measured, again.failures):
        return "same", "every number of every metric"
    values, fresh = record.finished(metric), again.finished(metric)
    if not values or not fresh:
        return "different", f"{len(fresh)} seeds finished, {len(values)} had"
    was, mean = estimate(values), estimate(fresh).value
    if was.low is None or was.high is None:
        return "different", f"{metric} {mean:.6g}, was {was.value:.6g}, and one seed has no interval"
    scores = f"{metric} {mean:.6g}, was {was.value:.6g} [{was.low:.6g}, {was.high:.6g}]"
    # Where all seeds score alike the interval is a point, and rounding is no difference.
    slack = TOLERANCE * max(1.0, abs(mean))
    return ("inside" if was.low - slack <= mean <= was.high + slack else "different"), scores


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
