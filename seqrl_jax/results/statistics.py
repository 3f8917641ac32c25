"""From seeds to numbers that can be compared: one estimate with its own interval, the same in every table.

Aggregates over tasks are those of Agarwal et al. (2021), "Deep reinforcement learning at the edge of the statistical
precipice", section 4: mean, median, interquartile mean, optimality gap, probability of improvement, performance
profiles, with seeds drawn again within each task and tasks not.

Intervals are bootstrap intervals, corrected for skewness and for how few seeds there are:

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
import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from msgspec import Struct
from numpy.typing import ArrayLike

from seqrl_jax.results.task_statistics import (
    Counted,
    Runs,
    Statistic,
    improvement,
    iqm,
    mean,
    median,
    once,
    optimality_gap,
    without_each,
    without_groups,
)

__all__ = [
    "Estimate",
    "Statistic",
    "aggregates",
    "difference",
    "estimate",
    "estimates",
    "iqm",
    "mean",
    "median",
    "optimality_gap",
    "over_tasks",
    "performance_profile",
    "probability_of_improvement",
    "proportion",
    "resamples_of",
]
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
LARGEST = 1e300
"""Of larger numbers sums overflow."""
BLOCK = 2**22
"""Numbers that are resampled at once."""
GROUPS = 100
"""How many parts of a sample the jackknife leaves out in turn at most."""
NO_VALUE = "an estimate needs at least one value of every task"


class Estimate(Struct, frozen=True):
    """A number with its 95% interval; low and high are None where there is none: one seed, or one example.

    A struct, as a record is: a large table holds several for each of its cells.
    """

    value: float
    low: float | None
    high: float | None

    def as_json(self) -> dict[str, float | None]:
        """{"value", "low", "high"}"""
        return {"value": self.value, "low": self.low, "high": self.high}


def estimate(values: ArrayLike, within: tuple[float, float] = (-math.inf, math.inf)) -> Estimate:
    """The mean over seeds.

    Args: values: [N], at least one. within: the range in which the truth is known to lie, so that the interval does.
    Raises: ValueError if there is no value, or one that is not finite.
    """
    return estimates([np.ravel(values)], [within])[0]


def estimates(
    samples: Sequence[Sequence[float] | np.ndarray], within: Sequence[tuple[float, float]] = ()
) -> list[Estimate]:
    """The mean over seeds of each of many cells, as `estimate`, of all at once that have the same number of seeds.

    Args: samples: [cells][N_cell]. within: [cells], or nothing. Raises: ValueError if there is a cell without values.
    """
    possible = np.array(within or [(-math.inf, math.inf)] * len(samples))
    alike: dict[int, list[int]] = defaultdict(list)
    for index, cell in enumerate(samples):
        alike[len(cell)].append(index)
    found: dict[int, Estimate] = {}
    for cells in alike.values():
        values = _valid(np.array([samples[index] for index in cells], np.float64))
        for begin in range(0, len(cells), BLOCK // RESAMPLES):
            part = slice(begin, begin + BLOCK // RESAMPLES)
            found |= zip(cells[part], _means(values[part], *possible[cells[part]].T), strict=True)
    return [found[index] for index in range(len(samples))]


def _means(values: np.ndarray, low: np.ndarray, high: np.ndarray) -> list[Estimate]:
    """Of cells of N seeds, [cells, N]. They are resampled by the same numbers, as each would be alone: what is drawn is
    how often each seed counts, and the means are sums with these weights."""
    size = values.shape[1]
    seeds = Runs(np.arange(size, dtype=np.float64), np.array([size]))
    of_all = _estimates(seeds, lambda sample: values @ (sample.counts / sample.sizes).T, (low, high), RESAMPLES)
    constant = np.ptp(values, 1) == 0 if size > 1 else np.zeros(len(values), bool)
    return [
        Estimate(float(value), float(value), float(value)) if same else estimate
        for same, value, estimate in zip(constant, values[:, 0], of_all, strict=True)
    ]


def proportion(values: ArrayLike) -> Estimate:
    """A share of successes with Wilson's interval (1927, J. Am. Stat. Assoc. 22), which one of 0 or 1 has too.

    Args: values: [N] within [0, 1]: successes, or shares of successes in clusters, which count as one trial each.
    Raises: ValueError if there is no value, or one that is no share.
    """
    from scipy.special import ndtri

    shares = np.asarray(values, np.float64).reshape(-1)
    if not len(shares):
        raise ValueError("an estimate needs at least one value")
    if not np.all((shares >= 0) & (shares <= 1)):
        raise ValueError("a share lies within [0, 1]")
    size, share = len(shares), float(shares.mean())
    if size < 2:
        return Estimate(share, None, None)
    z = float(ndtri((1 + CONFIDENCE) / 2))
    middle = (share + z**2 / (2 * size)) / (1 + z**2 / size)
    half = z / (1 + z**2 / size) * math.sqrt(share * (1 - share) / size + z**2 / (4 * size**2))
    return Estimate(share, max(0.0, min(middle - half, share)), min(1.0, max(middle + half, share)))


def over_tasks(
    samples: Sequence[ArrayLike],
    statistic: Statistic = iqm,
    within: tuple[float, float] = (-math.inf, math.inf),
    resamples: int = RESAMPLES,
) -> Estimate:
    """An aggregate over tasks, with the interval that other seeds on the same tasks would leave.

    Args:
        samples: [tasks][N_task] scores.
        statistic: `mean`, `median`, `iqm`, `optimality_gap` or another of that form.
        within: the range in which the truth is known to lie.
    Returns: without an interval if a task has but one score.
    Raises: ValueError if there is no task, or one without a score.
    """
    return aggregates(samples, [statistic], within, resamples)[0]


def aggregates(
    samples: Sequence[ArrayLike],
    statistics: Sequence[Statistic],
    within: tuple[float, float] = (-math.inf, math.inf),
    resamples: int = RESAMPLES,
) -> list[Estimate]:
    """Several aggregates over tasks, each as `over_tasks`, of the same resamples."""
    every = lambda sample: np.stack([statistic(sample) for statistic in statistics])
    without = lambda runs: np.stack([without_each(runs, statistic) for statistic in statistics])
    return _estimates(_runs(samples), every, within, resamples, without)


def difference(pairs: Sequence[ArrayLike]) -> Estimate:
    """By how much the first exceeds the second: the mean over tasks of the mean difference, paired by seed.

    Args: pairs: [tasks][N_task][2] scores of the two with the same seed.
    Raises: ValueError as `over_tasks`.
    """
    arrays = [np.asarray(pair, np.float64).reshape(-1, 2) for pair in pairs]
    return over_tasks([array[:, 0] - array[:, 1] for array in arrays], mean)


def probability_of_improvement(x: Sequence[ArrayLike], y: Sequence[ArrayLike]) -> Estimate:
    """P(a run of x scores higher than a run of y on the same task), averaged over tasks; ties count one half.

    Args: x, y: [tasks][N_task] scores; the two may have different numbers of seeds.
    Raises: ValueError as `over_tasks`, and if the two have different numbers of tasks.
    """
    if len(x) != len(y):
        raise ValueError(f"{len(x)} tasks against {len(y)}")
    return over_tasks([*x, *y], improvement, within=(0.0, 1.0))


def performance_profile(samples: Sequence[ArrayLike], thresholds: ArrayLike) -> list[Estimate]:
    """The share of all runs that score more than each threshold, with pointwise intervals.

    Args: samples: [tasks][N_task] scores. thresholds: [K].
    Raises: ValueError as `over_tasks`.
    """
    levels = np.asarray(thresholds, np.float64)

    def shares(sample: Counted) -> np.ndarray:
        runs = sample.runs
        places = np.searchsorted(runs.values[runs.order], levels, side="right")
        ranks = np.concatenate([np.zeros((len(sample.ranks), 1), int), sample.ranks], -1)
        return (runs.values.size - ranks[:, places]).T / runs.values.size

    def without(runs: Runs) -> np.ndarray:
        above = runs.values > levels[:, None]
        return (above.sum(-1, keepdims=True) - above) / (runs.values.size - 1)

    return _estimates(_runs(samples), shares, (0.0, 1.0), RESAMPLES, without)


def _runs(samples: Sequence[ArrayLike]) -> Runs:
    runs = Runs.of(samples)
    if not (runs.sizes.size and runs.sizes.all()):
        raise ValueError(NO_VALUE)
    _valid(runs.values)
    return runs


def _valid(values: np.ndarray) -> np.ndarray:
    if not values.size:
        raise ValueError(NO_VALUE)
    # Written so that NaN, which no comparison holds of, is refused too.
    if not np.abs(values).max() <= LARGEST:
        raise ValueError(f"no number, or one beyond {LARGEST:g}: of such nothing is estimated")
    return values


def resamples_of(runs: int) -> int:
    """How many resamples an interval is of that so many runs stand behind."""
    return max(FEWEST_RESAMPLES, min(RESAMPLES, DRAWN // runs))


def _estimates(
    runs: Runs,
    statistic: Statistic,
    within: Range,
    resamples: int,
    without: Callable[[Runs], np.ndarray] | None = None,
) -> list[Estimate]:
    """Of a statistic with K values, [K, R] of R samples. without: [K, runs] the statistic without each run, where there
    is a faster way than to leave out one after the other."""
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
