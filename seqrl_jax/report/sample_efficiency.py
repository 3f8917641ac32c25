"""Sample-efficiency curves: the aggregate of each method over all tasks, at each place of its learning curves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from seqrl_jax.report.sections import Section
from seqrl_jax.results.record import Record
from seqrl_jax.results.scores import between, counted_curve
from seqrl_jax.results.statistics import Estimate, iqm, over_tasks


@dataclass(frozen=True)
class SampleEfficiency:
    """The interquartile mean over tasks and seeds of a method's scores on the track's first scale, while it learns.

    x: what the places are, with their unit. at: [E] increasing. values: [E].
    Source: Agarwal et al. (2021), for the interquartile mean.
    """

    method: str
    x: str
    at: Sequence[float]
    values: Sequence[Estimate]


def sample_efficiency(section: Section) -> list[SampleEfficiency]:
    """Of the methods that have a learning curve, along one quantity, on each task that counts in their aggregate; so
    that the end of a line stands near the aggregate. Failed seeds count as they do there."""
    curves = (_of_method(section, method) for method in section.methods)
    return [curve for curve in curves if curve]


def _of_method(section: Section, method: str) -> SampleEfficiency | None:
    scored, metric = section.samples.get(method, {}), section.track.columns[0].metric
    records = [record for record in section.methods[method] if record.task in scored]
    if not records or any(metric not in record.curves for record in records):
        return None
    curves = [record.curves[metric] for record in records]
    at = _common([curve.at for curve in curves])
    if not at or len({curve.x for curve in curves}) > 1:
        return None
    tasks = [_at(at, curve.at, _scores(section, record)) for curve, record in zip(curves, records, strict=True)]
    values = [over_tasks([task[e] for task in tasks], iqm) for e in range(len(at))]
    return SampleEfficiency(method, curves[0].x, at, values)


def _scores(section: Section, record: Record) -> np.ndarray:
    """[E, N] the curve of a record on the track's first scale."""
    zero, ends = section.first_scale[record.task]
    rows = counted_curve(record, section.track.columns[0].metric, zero)
    return np.array([[between(J, *ends) for J in row] for row in rows])


def _common(places: Sequence[Sequence[float]]) -> list[float]:
    """The places of any curve, as far as every curve has been measured before and after."""
    if not all(places):
        return []
    first, last = max(each[0] for each in places), min(each[-1] for each in places)
    return sorted({place for each in places for place in each if first <= place <= last})


def _at(at: Sequence[float], places: Sequence[float], values: np.ndarray) -> np.ndarray:
    """[E, N] of values [E', N] that were measured at `places`, on straight lines between these."""
    return np.stack([np.interp(at, places, seed) for seed in values.T], axis=1)
