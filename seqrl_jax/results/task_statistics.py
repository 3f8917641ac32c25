"""Statistics over tasks, and each of them without one run, by which the jackknife knows what a run does to it.

Of any statistic it is computed again for each run, which takes time quadratic in the number of runs; of those that
tables show there is a closed form, linear but for one sort.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

Samples = Sequence[np.ndarray] | np.ndarray
"""[tasks] arrays [..., N_task], in one array [tasks, ..., N] where all have as many runs: what is computed of each task
is then computed of all at once. The leading axes are those of resamples."""
Statistic = Callable[[Samples], np.ndarray]
"""Of samples [tasks][..., N_task], an array [...]."""


def together(parts: Sequence[np.ndarray]) -> Samples:
    """In one array, where that can be."""
    return np.stack(parts) if len({part.shape for part in parts}) == 1 else parts


def each(samples: Samples, function: Callable[[np.ndarray], np.ndarray]) -> Samples:
    """A function of the last axis, of every task."""
    return function(samples) if isinstance(samples, np.ndarray) else together([function(runs) for runs in samples])


def beside(several: Sequence[Samples]) -> Samples:
    """[tasks][K, ..., N_task] of K samples of the same runs."""
    if all(isinstance(samples, np.ndarray) for samples in several):
        return np.stack(several, 1)
    return [np.stack(of_task) for of_task in zip(*several, strict=True)]


def mean(samples: Samples) -> np.ndarray:
    """The mean over tasks of each task's mean."""
    return np.mean(_means(samples), 0)


def median(samples: Samples) -> np.ndarray:
    """The median over tasks of each task's mean."""
    return np.median(_means(samples), 0)


def iqm(samples: Samples) -> np.ndarray:
    """Interquartile mean: of all runs of all tasks, without the lowest and highest quarter (rounded down)."""
    runs = np.concatenate(samples, -1)
    count = runs.shape[-1]
    cut = count // 4
    runs = np.partition(runs, (cut, count - cut - 1), -1)
    return runs[..., cut : count - cut].mean(-1)


def optimality_gap(samples: Samples) -> np.ndarray:
    """How far runs fall short of a score of 1 on average; what they score above it does not count."""
    return 1.0 - mean(each(samples, lambda runs: np.minimum(runs, 1.0)))


def improvement(samples: Samples) -> np.ndarray:
    """Mann and Whitney's U over the number of pairs, averaged over tasks; samples: those of x, then those of y."""
    half = len(samples) // 2
    pairs = zip(samples[:half], samples[half:], strict=True)
    signs = [np.sign(a[..., :, None] - b[..., None, :]).mean((-2, -1)) for a, b in pairs]
    return np.mean([0.5 + 0.5 * sign for sign in signs], 0)


def without_each(samples: Samples, statistic: Statistic) -> Samples:
    """[tasks][N_task] the statistic without each run in turn. samples: [tasks][N_task], of two runs at least."""
    if statistic in CLOSED_FORMS:
        return CLOSED_FORMS[statistic](samples)
    return together([without_groups(samples, task, statistic) for task in range(len(samples))])


def without_groups(samples: Samples, task: int, statistic: Statistic, width: int = 1) -> np.ndarray:
    """[..., groups] the statistic without each group of so many of a task's runs; a smaller rest is no group."""
    own = samples[task]
    groups = own.size // width
    parts = [np.broadcast_to(runs, (groups, runs.size)) for runs in samples]
    parts[task] = np.stack([np.delete(own, slice(group * width, (group + 1) * width)) for group in range(groups)])
    return statistic(parts)


def _means(samples: Samples) -> np.ndarray:
    """[tasks, ...] each task's mean."""
    return np.asarray(each(samples, lambda runs: runs.mean(-1)))


def _means_without(samples: Samples) -> Samples:
    """[tasks][N_task] each task's mean without each of its runs."""
    return each(samples, _mean_without_each)


def _mean_without_each(runs: np.ndarray) -> np.ndarray:
    return (runs.sum(-1, keepdims=True) - runs) / (runs.shape[-1] - 1)


def _mean_without(samples: Samples) -> Samples:
    whole, tasks = float(mean(samples)), len(samples)
    return each(samples, lambda runs: whole + (_mean_without_each(runs) - runs.mean(-1, keepdims=True)) / tasks)


def _gap_without(samples: Samples) -> Samples:
    return each(_mean_without(each(samples, lambda runs: np.minimum(runs, 1.0))), lambda less: 1.0 - less)


def _median_without(samples: Samples) -> Samples:
    """A task's mean moves among those of the others, which stay: the median is what lies in their middle."""
    means = _means(samples)
    order = np.argsort(means, kind="stable")
    place, ordered = np.empty(len(means), int), np.concatenate([[-np.inf], means[order], [np.inf]])
    place[order] = np.arange(len(means))
    half = len(means) // 2
    # The mean of that rank among the tasks other than that of each run; beyond all where there is none.
    of_run = np.repeat(place, [len(runs) for runs in samples])
    other = lambda rank: ordered[rank + 1 + (rank >= of_run)]
    less = np.concatenate(_means_without(samples))
    moved = np.clip(less, other(half - 1), other(half))
    if len(means) % 2 == 0:
        moved = 0.5 * (np.clip(less, other(half - 2), other(half - 1)) + moved)
    return _by_task(moved, samples)


def _iqm_without(samples: Samples) -> Samples:
    """What is left between the quarters, by sums over the sorted runs: one of them is out, or a neighbour moves in."""
    runs = np.concatenate(samples)
    order = np.argsort(runs, kind="stable")
    ordered, place = runs[order], np.empty(runs.size, int)
    place[order] = np.arange(runs.size)
    sums = np.concatenate([[0.0], np.cumsum(ordered)])
    left = runs.size - 1
    cut = left // 4
    begin, end = cut, left - cut
    below, above = place < begin, place >= end
    whole = sums[end + (~above)] - sums[begin + below] - np.where(below | above, 0.0, runs)
    return _by_task(whole / (end - begin), samples)


def _improvement_without(samples: Samples) -> Samples:
    """Pairs of a run are pairs of its task alone."""
    half, whole = len(samples) // 2, float(improvement(samples))
    signs = [np.sign(a[:, None] - b) for a, b in zip(samples[:half], samples[half:], strict=True)]
    without = lambda sign: whole + 0.5 * (_mean_without_each(sign.mean(-1)) - sign.mean()) / half
    return together([*map(without, signs), *(without(sign.T) for sign in signs)])


def _by_task(values: np.ndarray, samples: Samples) -> Samples:
    """A value of each run, in the form of the samples."""
    if isinstance(samples, np.ndarray):
        return values.reshape(samples.shape)
    return np.split(values, np.cumsum([len(part) for part in samples])[:-1])


CLOSED_FORMS: Mapping[Statistic, Callable[[Samples], Samples]] = {
    mean: _mean_without,
    median: _median_without,
    iqm: _iqm_without,
    optimality_gap: _gap_without,
    improvement: _improvement_without,
}
