"""Intervals around statistics of runs, by drawing the runs of each task again.

They are corrected for skewness and for how few seeds there are:

- their percentiles are those of BCa (DiCiccio & Efron, 1996, "Bootstrap confidence intervals", section 2), with the
  acceleration of several samples (Davison & Hinkley, 1997, "Bootstrap methods and their application", section 5.3),
  which for a mean is its bias correction too; the bias of the bootstrap distribution itself is left alone, because for
  a median over tasks it misleads (coverage .905 where it should be .95);
- their distances to the estimate are stretched by t_{df} / z * sqrt(n / (n - 1)): the bootstrap's variance is
  (n - 1) / n of the unbiased one, and it has the normal's quantile where Student's should stand. Hesterberg (2015,
  "What teachers should know about the bootstrap", section 5.3) corrects the same two by moving the percentiles, but
  with fewer than five seeds no percentile lies far enough out. Over tasks, df is that of Satterthwaite (1946).

For the mean of a symmetric sample this is about Student's interval. `benchmarks/coverage.py` measures what they cover.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from msgspec import Struct
from numpy.typing import ArrayLike

from seqrl_jax.results.task_statistics import Counted, Runs, Statistic, once, without_groups

Range = tuple[ArrayLike, ArrayLike]
"""The least and the largest that is possible, of each statistic or of all."""

CONFIDENCE = 0.95
RESAMPLES = 1999
FEWEST_RESAMPLES = 199
DRAWN = 2**20
"""Numbers that are drawn for an interval, about: of as many runs as an aggregate over a thousand tasks has, so many
resamples that each end is known to a tenth of its distance from the estimate, which is small then."""
SEED = 0
FEW = 6
"""Values that are drawn from themselves in at most 462 ways, whatever their order."""
BLOCK = 2**22
"""Numbers that are resampled at once."""
GROUPS = 100
"""How many parts of a sample the jackknife leaves out in turn at most."""


class Estimate(Struct, frozen=True):
    """A number with its 95% interval; low and high are None where there is none: one seed, or one example.

    A struct, as a record is: a large table holds several for each of its cells.
    """

    value: float
    low: float | None
    high: float | None

    @property
    def ends(self) -> tuple[float, float]:
        """Of the interval; the value itself where there is none."""
        return self.value if self.low is None else self.low, self.value if self.high is None else self.high

    def as_json(self) -> dict[str, float | None]:
        """{"value", "low", "high"}"""
        return {"value": self.value, "low": self.low, "high": self.high}


def resamples_of(runs: int) -> int:
    """How many resamples an interval is of that so many runs stand behind."""
    return max(FEWEST_RESAMPLES, min(RESAMPLES, DRAWN // runs))


def bootstrapped(
    runs: Runs,
    statistic: Statistic,
    within: Range,
    resamples: int,
    without: Callable[[Runs], np.ndarray] | None = None,
) -> list[Estimate]:
    """The K values of a statistic with their intervals, [K].

    Args: statistic: [K, R] of R samples. within: what is possible. resamples: at most. without: [K, runs] the statistic
        without each run, where there is a faster way than to leave out one after the other.
    Returns: without intervals where a task has but one run.
    """
    values = statistic(once(runs))[:, 0]
    if runs.sizes.min() < 2:
        return [Estimate(float(value), None, None) for value in values]
    least, most = (bound.reduceat(runs.values, runs.starts) for bound in (np.minimum, np.maximum))
    moving = np.flatnonzero(least < most)
    if not moving.size:
        return [Estimate(float(value), float(value), float(value)) for value in values]
    shape = tuple(runs.sizes.tolist()), tuple(moving.tolist())
    drawn = _draws(*shape, min(resamples, resamples_of(runs.values.size)))
    resampled = np.concatenate([statistic(Counted(runs, counts, runs.sizes)) for counts in drawn.counts], -1)
    influences = _influences(runs, moving, statistic, without)
    ends = _quantiles(resampled, drawn.repeats, _levels(influences))
    low, high = values + _stretch(influences, runs.sizes[moving]) * (ends - values)
    low, high = np.minimum(np.maximum(low, within[0]), values), np.maximum(np.minimum(high, within[1]), values)
    return [Estimate(*ends) for ends in zip(values.tolist(), low.tolist(), high.tolist(), strict=True)]


def _quantiles(drawn: np.ndarray, repeats: np.ndarray | None, levels: np.ndarray) -> np.ndarray:
    """[2, K] of each row of [K, R] at its own two levels, linear between neighbours. repeats: see `_resampled`."""
    count = drawn.shape[-1] if repeats is None else int(repeats.sum())
    places = levels * (count - 1)
    below = np.floor(places).astype(int)
    above = np.minimum(below + 1, count - 1)
    if repeats is None:
        first, second = _in_tails(drawn, below, above)
    else:
        first, second = _among_repeats(drawn, repeats, below, above)
    return (first + (second - first) * (places - below)).T


def _in_tails(drawn: np.ndarray, below: np.ndarray, above: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The values of those ranks, [K, 2] each. Only the tails that hold them are put in order: all takes twice as
    long."""
    last, first = int(above[:, 0].max()), int(below[:, 1].min())
    ordered = np.partition(drawn, [last, first], -1)
    ordered[:, : last + 1].sort(-1)
    ordered[:, first:].sort(-1)
    return np.take_along_axis(ordered, below, -1), np.take_along_axis(ordered, above, -1)


def _among_repeats(
    drawn: np.ndarray, repeats: np.ndarray, below: np.ndarray, above: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The same where each value counts as often as it was drawn."""
    order = np.argsort(drawn, -1)
    ordered, ranks = np.take_along_axis(drawn, order, -1), np.cumsum(repeats[order], -1)
    place = lambda rank: np.stack([(ranks <= rank[:, [end]]).sum(-1) for end in (0, 1)], -1)
    return np.take_along_axis(ordered, place(below), -1), np.take_along_axis(ordered, place(above), -1)


class Draws(NamedTuple):
    """What a bootstrap has drawn. counts: how often each run counts, [resamples, runs], in blocks of resamples.
    repeats: how often each of these was drawn, where there are few that differ; None for once each."""

    counts: list[np.ndarray]
    repeats: np.ndarray | None


@functools.lru_cache(maxsize=2)
def _draws(sizes: tuple[int, ...], moving: tuple[int, ...], resamples: int) -> Draws:
    """The runs of each moving task drawn again from themselves, the same for all samples of these sizes."""
    rng = np.random.default_rng(SEED)
    if len(sizes) == 1 and sizes[0] <= FEW:
        drawn = np.sort(rng.integers(0, sizes[0], (resamples, sizes[0])), -1)
        different, repeats = np.unique(drawn, axis=0, return_counts=True)
        return Draws([_counts(different, sizes[0])], repeats.astype(np.int32))
    block = max(1, BLOCK // sum(sizes))
    rows = [min(block, resamples - begin) for begin in range(0, resamples, block)]
    return Draws([_drawn_again(np.array(sizes), moving, count, rng) for count in rows], None)


def _drawn_again(sizes: np.ndarray, moving: Sequence[int], rows: int, rng: np.random.Generator) -> np.ndarray:
    """[rows, runs]"""
    starts, drawn = np.cumsum(sizes) - sizes, []
    for size, tasks in itertools.groupby(moving, key=lambda task: int(sizes[task])):
        first = starts[list(tasks)]
        places = rng.integers(0, size, (len(first), rows, size)) + first[:, None, None]
        drawn.append(places.swapaxes(0, 1).reshape(rows, -1))
    counts = _counts(np.concatenate(drawn, -1), int(sizes.sum()))
    still = np.ones(len(sizes), bool)
    still[list(moving)] = False
    counts[:, np.repeat(still, sizes)] = 1
    return counts


def _counts(drawn: np.ndarray, runs: int) -> np.ndarray:
    """[rows, runs] how often each run is among those that were drawn, [rows, N]."""
    flat = drawn + runs * np.arange(len(drawn))[:, None]
    return np.bincount(flat.ravel(), minlength=runs * len(drawn)).reshape(-1, runs).astype(np.int32)


class Influences(NamedTuple):
    """What groups of runs do to K statistics, relative to the largest of each: their powers neither vanish nor
    overflow, and only ratios matter. values: [K, groups]. sizes: [tasks] how many groups each task has."""

    values: np.ndarray
    sizes: np.ndarray

    def sums(self, values: np.ndarray) -> np.ndarray:
        """[K, tasks]"""
        return np.add.reduceat(values, np.cumsum(self.sizes) - self.sizes, -1)


def _influences(
    runs: Runs, moving: np.ndarray, statistic: Statistic, without: Callable[[Runs], np.ndarray] | None
) -> Influences:
    """Of each run of the tasks that move, of groups of runs where a task has more than `GROUPS`: G - 1 times what is
    missing when it is left out."""
    if without is not None and runs.sizes.max() <= GROUPS:
        of_run = np.isin(np.arange(len(runs.sizes)), moving).repeat(runs.sizes)
        left, sizes = without(runs)[:, of_run], runs.sizes[moving]
    else:
        parts = [statistic(without_groups(runs, task, -(-int(runs.sizes[task]) // GROUPS))) for task in moving]
        left, sizes = np.concatenate(parts, -1), np.array([part.shape[-1] for part in parts])
    found = Influences(left, sizes)
    means = np.repeat(found.sums(left) / sizes, sizes, -1)
    values = np.repeat(sizes - 1, sizes) * (means - left)
    largest = np.abs(values).max(-1, keepdims=True)
    return Influences(values / np.where(largest > 0, largest, 1.0), sizes)


def _levels(influences: Influences) -> np.ndarray:
    """[K, 2] where in the bootstrap distribution the ends lie: BCa with the bias that skewness alone gives a mean."""
    from scipy.special import ndtr, ndtri

    cubes = (influences.sums(influences.values**3) / influences.sizes**3).sum(-1)
    squares = (influences.sums(influences.values**2) / influences.sizes**2).sum(-1)
    acceleration = (cubes / (6 * np.where(squares > 0, squares, 1.0) ** 1.5))[:, None]
    shifted = acceleration + ndtri([(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return ndtr(acceleration + shifted / (1 - acceleration * shifted))


def _stretch(influences: Influences, sizes: np.ndarray) -> np.ndarray:
    """[K] t / z * sqrt(unbiased variance / bootstrap variance), from what each task adds to the variance.

    sizes: [tasks] their numbers of runs.
    """
    from scipy.special import ndtri, stdtrit

    degrees, groups = sizes - 1.0, influences.sizes
    means = np.repeat(influences.sums(influences.values) / groups, groups, -1)
    variances = influences.sums((influences.values - means) ** 2) / (groups - 1) / groups
    # Where leaving one value out changes nothing though resampling does (trimmed runs): as if of the smallest task.
    blind = variances.sum(-1) <= 0
    variances = np.where(blind[:, None], 1.0, variances)
    total = variances.sum(-1)
    freedom = np.where(blind, degrees.min(), total**2 / (variances**2 / degrees).sum(-1))
    narrowness = total / (variances * degrees / (degrees + 1)).sum(-1)
    upper = (1 + CONFIDENCE) / 2
    return stdtrit(freedom, upper) / ndtri(upper) * np.sqrt(narrowness)
