"""How methods learn over all tasks: their aggregate at each place of the learning curves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from seqrl_jax.report.sections import Section
from seqrl_jax.results.record import Record
from seqrl_jax.results.scores import between, counted_curve
from seqrl_jax.results.statistics import Estimate, iqm, over_tasks


@dataclass(frozen=True)
class Learning:
    """The interquartile mean over tasks and seeds of a method's scores on the track's first scale, while it learns.

    x: what the places are, with their unit. at: [E] increasing. values: [E].
    """

    method: str
    x: str
    at: Sequence[float]
    values: Sequence[Estimate]


def learning(section: Section) -> list[Learning]:
    """Of the methods that have a learning curve, along one quantity, on each task that counts in their aggregate; so
    that the end of a line stands near the aggregate. Failed seeds count as they do there."""
    found = (_of_method(section, method) for method in section.methods)
    return [each for each in found if each]


def _of_method(section: Section, method: str) -> Learning | None:
    scored, metric = section.samples.get(method, {}), section.track.columns[0].metric
    records = [record for record in section.methods[method] if record.task in scored]
    if not records or any(metric not in record.curves for record in records):
        return None
    curves = [record.curves[metric] for record in records]
    at = _common([curve.at for curve in curves])
    if not at or len({curve.x for curve in curves}) > 1:
        return None
    tasks = [_at(at, curve.at, _scores(section, record)) for curve, record in zip(curves, records, strict=True)]
    return Learning(method, curves[0].x, at, [over_tasks([task[e] for task in tasks], iqm) for e in range(len(at))])


def _scores(section: Section, record: Record) -> np.ndarray:
    """[E, N] the curve of a record on the track's first scale."""
    zero, ends = section.scaled[record.task]
    return np.vectorize(lambda J: between(J, *ends))(counted_curve(record, section.track.columns[0].metric, zero))


def _common(places: Sequence[Sequence[float]]) -> list[float]:
    """The places of the curve with the fewest, as far as every curve has been measured before and after."""
    first, last = max(each[0] for each in places), min(each[-1] for each in places)
    return [place for place in min(places, key=len) if first <= place <= last]


def _at(at: Sequence[float], places: Sequence[float], values: np.ndarray) -> np.ndarray:
    """[E, N] of values [E', N] that were measured at `places`, on straight lines between these."""
    return np.stack([np.interp(at, places, seed) for seed in values.T], axis=1)
