"""Statistics over tasks, of runs each of which counts a number of times.

A resample of the bootstrap has the same runs, each as often as it was drawn; what the jackknife leaves out counts 0
times. So a statistic is a function of counts: whatever depends on the scores alone, such as their order, is found once,
and methods with as many runs share what is drawn.

The jackknife computes any statistic again for each run, which takes time quadratic in the number of runs; of those that
tables show there is a closed form, linear but for one sort.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike


@dataclass(frozen=True, eq=False)
class Runs:
    """The runs of some tasks, side by side. values: [runs] their scores. sizes: [tasks] how many each task has."""

    values: np.ndarray
    sizes: np.ndarray

    @classmethod
    def of(cls, samples: Sequence[ArrayLike]) -> Runs:
        """Of [tasks][N_task] scores."""
        tasks = [np.asarray(sample, np.float64).reshape(-1) for sample in samples]
        return cls(np.concatenate(tasks or [np.zeros(0)]), np.array([task.size for task in tasks], int))

    @cached_property
    def starts(self) -> np.ndarray:
        """[tasks] where the runs of each begin."""
        return np.cumsum(self.sizes) - self.sizes

    @cached_property
    def order(self) -> np.ndarray:
        """[runs] the lowest first."""
        return np.argsort(self.values, kind="stable")

    @cached_property
    def means(self) -> np.ndarray:
        """[tasks] of each."""
        return self.sums(self.values) / self.sizes

    @property
    def capped(self) -> Runs:
        """The same where no score is above 1. Not kept: what holds itself waits for the collector."""
        return self if self.values.max() <= 1 else replace(self, values=np.minimum(self.values, 1.0))

    @cached_property
    def signs(self) -> list[np.ndarray]:
        """[tasks / 2][N_x, N_y] which of two runs scores higher, where the first half of the tasks is of x and the
        second, of the same tasks, of y: 1 for that of x, -1 for that of y."""
        tasks = np.split(self.values, self.starts[1:])
        half = len(tasks) // 2
        return [np.sign(x[:, None] - y) for x, y in zip(tasks[:half], tasks[half:], strict=True)]

    def sums(self, values: np.ndarray) -> np.ndarray:
        """[..., tasks] of [..., runs]."""
        return np.add.reduceat(values, self.starts, -1)

    def of_run(self, values: np.ndarray) -> np.ndarray:
        """[..., runs] for each run what [..., tasks] has for its task."""
        return np.repeat(values, self.sizes, -1)


@dataclass(frozen=True, eq=False)
class Counted:
    """R samples of some runs. counts: [R, runs] how often each counts. sizes: [tasks] how many count of each task, as
    many in every sample."""

    runs: Runs
    counts: np.ndarray
    sizes: np.ndarray

    @cached_property
    def means(self) -> np.ndarray:
        """[R, tasks] of each task."""
        return self.runs.sums(self.counts * self.runs.values) / self.sizes

    @property
    def capped(self) -> Counted:
        """The same where no score is above 1."""
        runs = self.runs.capped
        return self if runs is self.runs else replace(self, runs=runs)

    @cached_property
    def ranks(self) -> np.ndarray:
        """[R, runs] how many count up to each run, in their order."""
        return np.cumsum(self.counts.take(self.runs.order, -1), -1, dtype=np.int32)


Statistic = Callable[[Counted], np.ndarray]
"""[R] of R samples."""


def once(runs: Runs) -> Counted:
    """The one sample in which each run counts once."""
    return Counted(runs, np.ones((1, runs.values.size), np.int32), runs.sizes)


def value(statistic: Statistic, samples: Sequence[ArrayLike]) -> float:
    """Of [tasks][N_task] scores."""
    return float(statistic(once(Runs.of(samples)))[0])


def mean(sample: Counted) -> np.ndarray:
    """The mean over tasks of each task's mean."""
    return sample.means.mean(-1)


def median(sample: Counted) -> np.ndarray:
    """The median over tasks of each task's mean."""
    return np.median(sample.means, -1)


def iqm(sample: Counted) -> np.ndarray:
    """Interquartile mean: of all runs of all tasks, without the lowest and highest quarter (rounded down)."""
    total = int(sample.sizes.sum())
    cut = total // 4
    within = np.diff(sample.ranks.clip(cut, total - cut), prepend=np.int32(cut))
    return np.einsum("ri,i->r", within, sample.runs.values[sample.runs.order]) / (total - 2 * cut)


def optimality_gap(sample: Counted) -> np.ndarray:
    """How far runs fall short of a score of 1 on average; what they score above it does not count."""
    return 1.0 - mean(sample.capped)


def improvement(sample: Counted) -> np.ndarray:
    """Mann and Whitney's U over the number of pairs, averaged over tasks; of the tasks of x, then those of y."""
    runs, half = sample.runs, len(sample.runs.signs)
    of_task = np.split(sample.counts, runs.starts[1:], -1)
    wins = [((x @ sign) * y).sum(-1) for x, sign, y in zip(of_task, runs.signs, of_task[half:])]
    pairs = sample.sizes[:half] * sample.sizes[half:]
    return (0.5 + 0.5 * np.stack(wins, -1) / pairs).mean(-1)


def without_each(runs: Runs, statistic: Statistic) -> np.ndarray:
    """[runs] the statistic without each run in turn, of two runs of every task at least."""
    if statistic in CLOSED_FORMS:
        return CLOSED_FORMS[statistic](runs)
    return np.concatenate([statistic(without_groups(runs, task)) for task in range(len(runs.sizes))], -1)


def without_groups(runs: Runs, task: int, width: int = 1) -> Counted:
    """A sample without each group of so many of a task's runs; a smaller rest is no group."""
    groups = np.arange(runs.sizes[task] // width)
    counts = np.ones((len(groups), runs.values.size), np.int32)
    counts[groups[:, None], runs.starts[task] + groups[:, None] * width + np.arange(width)] = 0
    return Counted(runs, counts, runs.sizes - width * (np.arange(len(runs.sizes)) == task))


def _means_without(runs: Runs) -> np.ndarray:
    """[runs] each task's mean without each of its runs."""
    return (runs.of_run(runs.sums(runs.values)) - runs.values) / (runs.of_run(runs.sizes) - 1)


def _mean_without(runs: Runs) -> np.ndarray:
    return runs.means.mean() + (_means_without(runs) - runs.of_run(runs.means)) / len(runs.sizes)


def _gap_without(runs: Runs) -> np.ndarray:
    return 1.0 - _mean_without(runs.capped)


def _median_without(runs: Runs) -> np.ndarray:
    """A task's mean moves among those of the others, which stay: the median is what lies in their middle."""
    order, tasks = np.argsort(runs.means, kind="stable"), len(runs.sizes)
    place, ordered = np.empty(tasks, int), np.concatenate([[-np.inf], runs.means[order], [np.inf]])
    place[order] = np.arange(tasks)
    half, of_run = tasks // 2, runs.of_run(place)
    # The mean of that rank among the tasks other than that of each run; beyond all where there is none.
    other = lambda rank: ordered[rank + 1 + (rank >= of_run)]
    less = _means_without(runs)
    moved = np.clip(less, other(half - 1), other(half))
    return moved if tasks % 2 else 0.5 * (np.clip(less, other(half - 2), other(half - 1)) + moved)


def _iqm_without(runs: Runs) -> np.ndarray:
    """What is left between the quarters, by sums over the sorted runs: one of them is out, or a neighbour moves in."""
    count, place = runs.values.size, np.empty(runs.values.size, int)
    place[runs.order] = np.arange(count)
    sums = np.concatenate([[0.0], np.cumsum(runs.values[runs.order])])
    left = count - 1
    cut = left // 4
    begin, end = cut, left - cut
    below, above = place < begin, place >= end
    return (sums[end + (~above)] - sums[begin + below] - np.where(below | above, 0.0, runs.values)) / (end - begin)


def _improvement_without(runs: Runs) -> np.ndarray:
    """Pairs of a run are pairs of its task alone."""
    half, whole = len(runs.sizes) // 2, float(improvement(once(runs))[0])
    wins = Runs(np.concatenate([sign.mean(axis) for axis in (1, 0) for sign in runs.signs]), runs.sizes)
    return whole + 0.5 * (_means_without(wins) - wins.of_run(wins.means)) / half


CLOSED_FORMS: Mapping[Statistic, Callable[[Runs], np.ndarray]] = {
    mean: _mean_without,
    median: _median_without,
    iqm: _iqm_without,
    optimality_gap: _gap_without,
    improvement: _improvement_without,
}
