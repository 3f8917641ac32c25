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

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import ArrayLike

from seqrl_jax.results.task_statistics import (
    Samples,
    Statistic,
    beside,
    each,
    improvement,
    iqm,
    mean,
    median,
    optimality_gap,
    together,
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


@dataclass(frozen=True)
class Estimate:
    """A number with its 95% interval; low and high are None where there is none: one seed, or one example."""

    value: float
    low: float | None
    high: float | None

    def as_json(self) -> dict[str, float | None]:
        """{"value", "low", "high"}"""
        return asdict(self)


def estimate(values: ArrayLike, within: tuple[float, float] = (-math.inf, math.inf)) -> Estimate:
    """The mean over seeds.

    Args: values: [N], at least one. within: the range in which the truth is known to lie, so that the interval does.
    Raises: ValueError if there is no value, or one that is not finite.
    """
    return estimates([values], [within])[0]


def estimates(samples: Sequence[ArrayLike], within: Sequence[tuple[float, float]] = ()) -> list[Estimate]:
    """The mean over seeds of each of many cells, as `estimate`, of all at once that have the same number of seeds.

    Args: samples: [cells][N_cell]. within: [cells], or nothing. Raises: ValueError if there is a cell without values.
    """
    cells = _strata(samples) if len(samples) else []
    possible = np.array(within or [(-math.inf, math.inf)] * len(cells))
    found: dict[int, Estimate] = {}
    for size in {cell.size for cell in cells}:
        alike = [index for index, cell in enumerate(cells) if cell.size == size]
        for begin in range(0, len(alike), BLOCK // RESAMPLES):
            part = alike[begin : begin + BLOCK // RESAMPLES]
            found |= zip(part, _means(np.stack([cells[index] for index in part]), *possible[part].T), strict=True)
    return [found[index] for index in range(len(cells))]


def _means(values: np.ndarray, low: np.ndarray, high: np.ndarray) -> list[Estimate]:
    """Of cells of N seeds, [cells, N]. They are resampled by the same numbers, as each would be alone: what is drawn is
    which seeds, and the means are sums with the weights that this gives to them."""
    size = values.shape[1]

    def weighted(strata: Samples) -> np.ndarray:
        drawn = strata[0].astype(int).reshape(-1, strata[0].shape[-1])
        flat = (drawn + size * np.arange(len(drawn))[:, None]).ravel()
        weights = np.bincount(flat, minlength=size * len(drawn)).reshape(-1, size) / drawn.shape[-1]
        return (values @ weights.T).reshape(len(values), *strata[0].shape[:-1])

    of_all = _estimates([np.arange(size)], weighted, (low, high), RESAMPLES)
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
    strata = _strata(samples)
    every = lambda strata: np.stack([statistic(strata) for statistic in statistics])
    if not _each_counts(strata):
        return _estimates(strata, every, within, resamples)

    def influences(moving: Sequence[int]) -> Samples:
        return each(_some(beside([without_each(strata, statistic) for statistic in statistics]), moving), _influence)

    return _estimates(strata, every, within, resamples, influences)


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
    levels, strata = np.asarray(thresholds, np.float64), _strata(samples)

    def shares(strata: Samples) -> np.ndarray:
        runs = np.concatenate(strata, -1)
        return np.stack([(runs > level).mean(-1) for level in levels])

    def influences(moving: Sequence[int]) -> Samples:
        above = each(strata, lambda runs: runs[..., None, :] > levels[:, None])
        runs, count = sum(part.shape[-1] for part in above), np.sum([part.sum(-1) for part in above], 0)
        return each(_some(above, moving), lambda part: _influence((count[:, None] - part) / (runs - 1)))

    return _estimates(strata, shares, (0.0, 1.0), RESAMPLES, influences if _each_counts(strata) else None)


def _each_counts(strata: Samples) -> bool:
    """Whether the jackknife leaves out runs one by one, not in groups."""
    return max(stratum.size for stratum in strata) <= GROUPS


def _strata(samples: Sequence[ArrayLike]) -> Samples:
    strata = [np.asarray(sample, np.float64).reshape(-1) for sample in samples]
    if not strata or any(stratum.size == 0 for stratum in strata):
        raise ValueError("an estimate needs at least one value of every task")
    # Written so that NaN, which no comparison holds of, is refused too.
    if not np.abs(np.concatenate(strata)).max() <= LARGEST:
        raise ValueError(f"no number, or one beyond {LARGEST:g}: of such nothing is estimated")
    return together(strata)


def resamples_of(runs: int) -> int:
    """How many resamples an interval is of that so many runs stand behind."""
    return max(FEWEST_RESAMPLES, min(RESAMPLES, DRAWN // runs))


def _estimates(
    strata: Samples,
    statistic: Statistic,
    within: Range,
    resamples: int,
    influences_of: Callable[[Sequence[int]], Samples] | None = None,
) -> list[Estimate]:
    """Of a statistic with K values, [tasks][..., N_task] -> [K, ...]. influences_of: some strata, [strata][K, G], where
    there is a faster way than to leave each group out in turn."""
    values, sizes = statistic(strata), np.array([stratum.size for stratum in strata])
    if sizes.min() < 2:
        return [Estimate(float(value), None, None) for value in values]
    moving = np.flatnonzero(each(strata, lambda runs: np.ptp(runs, -1))).tolist()
    if not moving:
        return [Estimate(float(value), float(value), float(value)) for value in values]
    drawn, repeats = _resampled(strata, moving, statistic, min(resamples, resamples_of(int(sizes.sum()))))
    every = influences_of(moving) if influences_of else [_influences(strata, index, statistic) for index in moving]
    influences = _relative(every)
    ends = _quantiles(drawn, repeats, _levels(influences))
    low, high = values + _stretch(influences, sizes[moving]) * (ends - values)
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


def _resampled(
    strata: Samples, moving: list[int], statistic: Statistic, resamples: int
) -> tuple[np.ndarray, np.ndarray | None]:
    """The bootstrap distribution, [K, R]: each stratum drawn again from itself. And how often each was drawn, [R],
    where there are few that differ; None for once each."""
    rng = np.random.default_rng(SEED)
    if len(strata) == 1 and strata[0].size <= FEW:
        size = strata[0].size
        drawn = np.sort(rng.integers(0, size, (resamples, size)), -1)
        different, repeats = np.unique(drawn, axis=0, return_counts=True)
        return statistic([strata[0][different]]), repeats
    block = max(1, BLOCK // sum(stratum.size for stratum in strata))
    parts = []
    for begin in range(0, resamples, block):
        rows = min(block, resamples - begin)
        parts.append(statistic(_drawn_again(strata, moving, rows, rng)))
    return np.concatenate(parts, -1), None


def _drawn_again(strata: Samples, moving: list[int], rows: int, rng: np.random.Generator) -> Samples:
    """[tasks][rows, N_task]: those that move drawn from themselves, by the same numbers in either form."""
    if isinstance(strata, np.ndarray):
        size = strata.shape[-1]
        drawn = np.zeros((len(strata), rows, size), int)
        drawn[moving] = rng.integers(0, size, (len(moving), rows, size))
        return np.take_along_axis(strata[:, None], drawn, -1)
    resampled = [np.broadcast_to(stratum, (rows, stratum.size)) for stratum in strata]
    for index in moving:
        size = strata[index].size
        resampled[index] = strata[index][rng.integers(0, size, (rows, size))]
    return resampled


def _some(samples: Samples, tasks: Sequence[int]) -> Samples:
    """Of some tasks."""
    return samples[list(tasks)] if isinstance(samples, np.ndarray) else [samples[task] for task in tasks]


def _influences(strata: Samples, index: int, statistic: Statistic) -> np.ndarray:
    """[K, G] of G groups of a stratum's values. A group is one value, more where there are more than `GROUPS`."""
    return _influence(without_groups(strata, index, statistic, width=-(-strata[index].size // GROUPS)))


def _influence(without: np.ndarray) -> np.ndarray:
    """[K, G] what each group does to the statistic: G - 1 times what is missing when it is left out."""
    return (without.shape[-1] - 1) * (without.mean(-1, keepdims=True) - without)


def _relative(influences: Samples) -> Samples:
    """Divided by the largest of each statistic: their powers neither vanish nor overflow, and only ratios matter."""
    largest = _of_each(influences, lambda part: np.abs(part).max(-1)).max(0)[:, None]
    return each(influences, lambda part: part / np.where(largest > 0, largest, 1.0))


def _levels(influences: Samples) -> np.ndarray:
    """[K, 2] where in the bootstrap distribution the ends lie: BCa with the bias that skewness alone gives a mean."""
    from scipy.special import ndtr, ndtri

    cubes = _of_each(influences, lambda part: (part**3).sum(-1) / part.shape[-1] ** 3).sum(0)
    squares = _of_each(influences, lambda part: (part**2).sum(-1) / part.shape[-1] ** 2).sum(0)
    acceleration = (cubes / (6 * np.where(squares > 0, squares, 1.0) ** 1.5))[:, None]
    shifted = acceleration + ndtri([(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return ndtr(acceleration + shifted / (1 - acceleration * shifted))


def _stretch(influences: Samples, sizes: np.ndarray) -> np.ndarray:
    """[K] t / z * sqrt(unbiased variance / bootstrap variance), from what each stratum adds to the variance."""
    from scipy.special import ndtri, stdtrit

    degrees = sizes[:, None] - 1.0
    variances = _of_each(influences, lambda part: part.var(-1, ddof=1) / part.shape[-1])
    # Where leaving one value out changes nothing though resampling does (trimmed runs): as if of the smallest stratum.
    blind = variances.sum(0) <= 0
    variances = np.where(blind, 1.0, variances)
    total = variances.sum(0)
    freedom = np.where(blind, degrees.min(), total**2 / (variances**2 / degrees).sum(0))
    narrowness = total / (variances * degrees / (degrees + 1)).sum(0)
    upper = (1 + CONFIDENCE) / 2
    return stdtrit(freedom, upper) / ndtri(upper) * np.sqrt(narrowness)


def _of_each(influences: Samples, reduce: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """[strata, K] of [strata][K, G], the last axis reduced."""
    return np.asarray(each(influences, reduce))
