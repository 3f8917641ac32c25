"""From seeds to numbers that can be compared: one estimate with its own interval, the same in every table.

Aggregates over tasks are those of Agarwal et al. (2021), "Deep reinforcement learning at the edge of the statistical
precipice", section 4: mean, median, interquartile mean, optimality gap, probability of improvement, performance
profiles, with seeds drawn again within each task and tasks not.

Intervals are those of `bootstrap`, for shares of successes Wilson's.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from seqrl_jax.results.bootstrap import BLOCK, CONFIDENCE, RESAMPLES, Estimate, bootstrapped
from seqrl_jax.results.task_statistics import (
    Counted,
    Runs,
    Statistic,
    improvement,
    iqm,
    mean,
    median,
    optimality_gap,
    without_each,
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
]
LARGEST = 1e300
"""Of larger numbers sums overflow."""
NO_VALUE = "an estimate needs at least one value of every task"


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
    of_all = bootstrapped(seeds, lambda sample: values @ (sample.counts / sample.sizes).T, (low, high), RESAMPLES)
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
    return bootstrapped(_runs(samples), every, within, resamples, without)


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

    return bootstrapped(_runs(samples), shares, (0.0, 1.0), RESAMPLES, without)


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
