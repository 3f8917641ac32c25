"""Which methods are best on a task, where that is more than luck."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

from seqrl_jax.report.compare import finished_pairs, scaled_pairs
from seqrl_jax.report.sections import Section
from seqrl_jax.results.record import TOLERANCE, Record
from seqrl_jax.results.statistics import estimates

Cell = tuple[str, str]
"""(task, method)."""


def best(section: Section) -> frozenset[Cell]:
    """The trained method with the best mean score on each task, if it is better than every other trained one: the 95%
    interval of each paired difference lies on its side of 0, by more than rounding. On a task without such a method
    there is none, and none where a seed failed that no scale of the task says how to count."""
    sign = -1 if section.track.columns[0].better == "lower" else 1
    first: list[Cell] = []
    differences: list[list[float]] = []
    for task, records in section.tasks.items():
        gains = _gains(section, records, sign)
        first += [(task, method) for method, _ in gains]
        differences += [gain for _, gain in gains]
    # All at once: one by one, intervals take nearly all of the time.
    proved = [found.low is not None and found.low > 0 for found in estimates(differences)]
    return frozenset(first) - {cell for cell, better in zip(first, proved, strict=True) if not better}


def _gains(section: Section, records: Sequence[Record], sign: int) -> list[tuple[str, list[float]]]:
    """The trained method with the best mean score on a task, once for each other one, with by how much more than
    rounding it is better of every pair of seeds; nothing where it cannot be compared with all of them."""
    metric = section.track.columns[0].metric
    trained = {record.method: record for record in records if record.steps_made and record.finished(metric)}
    if len(trained) < 2:
        return []
    first = max(trained.values(), key=lambda record: sign * fmean(record.finished(metric)))
    failed = any(record.failed for record in trained.values())
    gains = []
    for other in (record for record in trained.values() if record is not first):
        pairs = scaled_pairs(section, other, first) or ([] if failed else finished_pairs(other, first, metric)[0])
        gains.append((first.method, [sign * (mine - theirs) - _rounding(mine) for theirs, mine in pairs]))
    return gains if all(gain for _, gain in gains) else []


def _rounding(score: float) -> float:
    """What two scores may differ by that are the same."""
    return TOLERANCE * max(1.0, abs(score))
