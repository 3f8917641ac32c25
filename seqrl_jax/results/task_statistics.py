"""Statistics over tasks, and each of them without one run, by which the jackknife knows what a run does to it.

Of any statistic it is computed again for each run, which takes time quadratic in the number of runs; of the four that
tables show there is a closed form, linear but for one sort.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

Samples = Sequence[np.ndarray]
"""[tasks] arrays [..., N_task]: the leading axes are those of resamples."""
Statistic = Callable[[Samples], np.ndarray]
"""Of samples [tasks][..., N_task], an array [...]."""


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


def without_each(samples: Samples, statistic: Statistic) -> list[np.ndarray]:
    """[tasks][N_task] the statistic without each run in turn. samples: [tasks][N_task], of two runs at least."""
    if statistic in CLOSED_FORMS:
        return CLOSED_FORMS[statistic](samples)
    return [without_groups(samples, task, statistic) for task in range(len(samples))]


def without_groups(samples: Samples, task: int, statistic: Statistic, width: int = 1) -> np.ndarray:
    """[..., groups] the statistic without each group of so many of a task's runs; a smaller rest is no group."""
    own = samples[task]
    groups = own.size // width
    parts = [np.broadcast_to(runs, (groups, runs.size)) for runs in samples]
    parts[task] = np.stack([np.delete(own, slice(group * width, (group + 1) * width)) for group in range(groups)])
    return statistic(parts)


def _means_without(samples: Samples) -> list[np.ndarray]:
    """[tasks][N_task] each task's mean without each of its runs."""
    return [(runs.sum() - runs) / (runs.size - 1) for runs in samples]


def _mean_without(samples: Samples) -> list[np.ndarray]:
    whole, means = float(mean(samples)), [runs.mean() for runs in samples]
    return [whole + (less - own) / len(samples) for less, own in zip(_means_without(samples), means, strict=True)]


def _gap_without(samples: Samples) -> list[np.ndarray]:
    return [1.0 - less for less in _mean_without([np.minimum(runs, 1.0) for runs in samples])]


def _median_without(samples: Samples) -> list[np.ndarray]:
    """A task's mean moves among those of the others, which stay: the median is what lies in their middle."""
    means = np.array([runs.mean() for runs in samples])
    order = np.argsort(means, kind="stable")
    place, ordered = np.empty(len(means), int), np.concatenate([[-np.inf], means[order], [np.inf]])
    place[order] = np.arange(len(means))
    half = len(means) // 2

    def other(index: int, task: int) -> float:
        """The mean of that rank among the other tasks; beyond all where there is none."""
        return float(ordered[index + 1 + (index >= place[task])])

    return [
        np.clip(less, other(half - 1, task), other(half, task))
        if len(means) % 2
        else 0.5
        * (
            np.clip(less, other(half - 2, task), other(half - 1, task))
            + np.clip(less, other(half - 1, task), other(half, task))
        )
        for task, less in enumerate(_means_without(samples))
    ]


def _iqm_without(samples: Samples) -> list[np.ndarray]:
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
    return np.split(whole / (end - begin), np.cumsum([len(part) for part in samples])[:-1])


CLOSED_FORMS: Mapping[Statistic, Callable[[Samples], list[np.ndarray]]] = {
    mean: _mean_without,
    median: _median_without,
    iqm: _iqm_without,
    optimality_gap: _gap_without,
}
