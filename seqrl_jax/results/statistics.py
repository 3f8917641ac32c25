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

Samples = Sequence[np.ndarray]
"""[tasks] arrays [..., N_task]: the leading axes are those of resamples."""
Statistic = Callable[[Samples], np.ndarray]
"""Of samples [tasks][..., N_task], an array [...]."""

CONFIDENCE = 0.95
RESAMPLES = 1999
SEED = 0
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


def mean(samples: Samples) -> np.ndarray:
    """The mean over tasks of each task's mean."""
    return np.mean([sample.mean(-1) for sample in samples], 0)


def median(samples: Samples) -> np.ndarray:
    """The median over tasks of each task's mean."""
    return np.median([sample.mean(-1) for sample in samples], 0)


def iqm(samples: Samples) -> np.ndarray:
    """Interquartile mean: of all runs of all tasks, without the lowest and highest quarter (rounded down)."""
    runs = np.concatenate(samples, -1)
    count = runs.shape[-1]
    cut = count // 4
    runs = np.partition(runs, (cut, count - cut - 1), -1)
    return runs[..., cut : count - cut].mean(-1)


def optimality_gap(samples: Samples) -> np.ndarray:
    """How far runs fall short of a score of 1 on average; what they score above it does not count."""
    return 1.0 - mean([np.minimum(sample, 1.0) for sample in samples])


def estimate(values: ArrayLike, within: tuple[float, float] = (-math.inf, math.inf)) -> Estimate:
    """The mean over seeds.

    Args: values: [N], at least one. within: the range in which the truth is known to lie, so that the interval does.
    Raises: ValueError if there is no value.
    """
    return over_tasks([values], mean, within)


def proportion(values: ArrayLike) -> Estimate:
    """A share of successes with Wilson's interval (1927, J. Am. Stat. Assoc. 22), which one of 0 or 1 has too.

    Args: values: [N] within [0, 1]: successes, or shares of successes in clusters, which count as one trial each.
    Raises: ValueError if there is no value.
    """
    from scipy.special import ndtri

    shares = np.asarray(values, np.float64).reshape(-1)
    if not len(shares):
        raise ValueError("an estimate needs at least one value")
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
    strata = _strata(samples)
    (computed,) = _estimates(strata, lambda strata: statistic(strata)[None], within, resamples)
    return computed


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
    return over_tasks([*x, *y], _improvement, within=(0.0, 1.0))


def performance_profile(samples: Sequence[ArrayLike], thresholds: ArrayLike) -> list[Estimate]:
    """The share of all runs that score more than each threshold, with pointwise intervals.

    Args: samples: [tasks][N_task] scores. thresholds: [K].
    Raises: ValueError as `over_tasks`.
    """
    levels = np.asarray(thresholds, np.float64)

    def shares(strata: Samples) -> np.ndarray:
        runs = np.concatenate(strata, -1)
        return np.stack([(runs > level).mean(-1) for level in levels])

    return _estimates(_strata(samples), shares, (0.0, 1.0), RESAMPLES)


def _improvement(strata: Samples) -> np.ndarray:
    """Mann and Whitney's U over the number of pairs, averaged over tasks; strata: those of x, then those of y."""
    half = len(strata) // 2
    signs = [np.sign(a[..., :, None] - b[..., None, :]).mean((-2, -1)) for a, b in zip(strata[:half], strata[half:])]
    return np.mean([0.5 + 0.5 * sign for sign in signs], 0)


def _strata(samples: Sequence[ArrayLike]) -> list[np.ndarray]:
    strata = [np.asarray(sample, np.float64).reshape(-1) for sample in samples]
    if not strata or any(stratum.size == 0 for stratum in strata):
        raise ValueError("an estimate needs at least one value of every task")
    return strata


def _estimates(
    strata: list[np.ndarray], statistic: Statistic, within: tuple[float, float], resamples: int
) -> list[Estimate]:
    """Of a statistic with K values, [tasks][..., N_task] -> [K, ...]."""
    values = statistic(strata)
    if any(stratum.size < 2 for stratum in strata):
        return [Estimate(float(value), None, None) for value in values]
    moving = [index for index, stratum in enumerate(strata) if np.ptp(stratum) > 0]
    if not moving:
        return [Estimate(float(value), float(value), float(value)) for value in values]
    drawn = _resampled(strata, moving, statistic, resamples)
    influences = _relative([_influences(strata, index, statistic) for index in moving])
    levels = _levels(influences)
    ends = np.array([np.quantile(row, pair) for row, pair in zip(drawn, levels, strict=True)]).T
    low, high = values + _stretch(influences, [strata[index].size for index in moving]) * (ends - values)
    low, high = np.minimum(np.maximum(low, within[0]), values), np.maximum(np.minimum(high, within[1]), values)
    return [Estimate(*map(float, ends)) for ends in zip(values, low, high, strict=True)]


def _resampled(strata: list[np.ndarray], moving: list[int], statistic: Statistic, resamples: int) -> np.ndarray:
    """The bootstrap distribution, [K, resamples]: each stratum drawn again from itself."""
    rng = np.random.default_rng(SEED)
    block = max(1, BLOCK // sum(stratum.size for stratum in strata))
    parts = []
    for begin in range(0, resamples, block):
        rows = min(block, resamples - begin)
        drawn = [np.broadcast_to(stratum, (rows, stratum.size)) for stratum in strata]
        for index in moving:
            size = strata[index].size
            drawn[index] = strata[index][rng.integers(0, size, (rows, size))]
        parts.append(statistic(drawn))
    return np.concatenate(parts, -1)


def _influences(strata: list[np.ndarray], index: int, statistic: Statistic) -> np.ndarray:
    """[K, G] what each of G groups of a stratum's values does to the statistic, by the jackknife: G - 1 times what is
    missing when it is left out. A group is one value, more where there are more than `GROUPS`."""
    own = strata[index]
    width = -(-own.size // GROUPS)
    groups = own.size // width
    parts = [np.broadcast_to(stratum, (groups, stratum.size)) for stratum in strata]
    parts[index] = np.stack([np.delete(own, slice(group * width, (group + 1) * width)) for group in range(groups)])
    without = statistic(parts)
    return (groups - 1) * (without.mean(-1, keepdims=True) - without)


def _relative(influences: list[np.ndarray]) -> list[np.ndarray]:
    """Divided by the largest of each statistic: their powers neither vanish nor overflow, and only ratios matter."""
    largest = np.max([np.abs(part).max(-1, keepdims=True) for part in influences], 0)
    return [part / np.where(largest > 0, largest, 1.0) for part in influences]


def _levels(influences: list[np.ndarray]) -> np.ndarray:
    """[K, 2] where in the bootstrap distribution the ends lie: BCa with the bias that skewness alone gives a mean."""
    from scipy.special import ndtr, ndtri

    cubes = sum((part**3).sum(-1) / part.shape[-1] ** 3 for part in influences)
    squares = sum((part**2).sum(-1) / part.shape[-1] ** 2 for part in influences)
    acceleration = (cubes / (6 * np.where(squares > 0, squares, 1.0) ** 1.5))[:, None]
    shifted = acceleration + ndtri([(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return ndtr(acceleration + shifted / (1 - acceleration * shifted))


def _stretch(influences: list[np.ndarray], sizes: list[int]) -> np.ndarray:
    """[K] t / z * sqrt(unbiased variance / bootstrap variance), from what each stratum adds to the variance."""
    from scipy.special import ndtri, stdtrit

    degrees = np.array(sizes, np.float64)[:, None] - 1
    variances = np.array([part.var(-1, ddof=1) / part.shape[-1] for part in influences])
    # Where leaving one value out changes nothing though resampling does (trimmed runs): as if of the smallest stratum.
    blind = variances.sum(0) <= 0
    variances = np.where(blind, 1.0, variances)
    total = variances.sum(0)
    freedom = np.where(blind, degrees.min(), total**2 / (variances**2 / degrees).sum(0))
    narrowness = total / (variances * degrees / (degrees + 1)).sum(0)
    upper = (1 + CONFIDENCE) / 2
    return stdtrit(freedom, upper) / ndtri(upper) * np.sqrt(narrowness)
