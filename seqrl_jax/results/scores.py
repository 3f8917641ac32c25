"""Scores between bounds, what a failed seed counts for, and what bounds prove about a record."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from seqrl_jax.results.record import TOLERANCE, Bound, PerSeed, Record
from seqrl_jax.results.statistics import Estimate, estimates

MIN_RANGE = 1e-9
"""In units of return: two bounds that are no further from each other are the same but for rounding."""
MIN_SHARE = 0.0025
"""Of the reach of a task's bounds. The score of a seed is judged to about that: its median standard error over the
sampled cells of the recorded suite `pomdp`. Of the suite's tasks, the memory score of one lies below (.00007) and all
others above .029."""
SIGMAS = 5.0
UNSEEN = 15.0
"""exp(-15) = 3e-7, the false-alarm rate of five sigmas."""
UNSEEN_BY_INTERVALS = 3.7
"""exp(-3.7) = 2.5%, that of one end of a 95% interval."""


def between(J: float, zero: float, one: float) -> float:
    """(J - zero) / (one - zero). Raises: ZeroDivisionError where the two are equal, see `scale_ends`."""
    return (J - zero) / (one - zero)


def scale_ends(bounds: Mapping[str, Bound], zero: str, one: str) -> tuple[float, float] | None:
    """The lower ends of two bounds, between which a score has its scale, if such a score says anything.

    It does where `one` is proved to exceed `zero` (its lower end the other's upper end) by more than .25% of the reach
    of all bounds of the task. Below that a score is the error of judging, blown up; and where the two may be equal, so
    that nothing is to be gained, it may be anything.

    Returns: (zero, one), or None if either is missing or they are too close.
    """
    if zero not in bounds or one not in bounds:
        return None
    proved = bounds[one].lower - bounds[zero].upper
    return (bounds[zero].lower, bounds[one].lower) if proved > max(MIN_RANGE, MIN_SHARE * reach(bounds)) else None


def reach(bounds: Mapping[str, Bound]) -> float:
    """From the smallest lower end of a task's bounds to the largest upper end, in units of return; 0 without any."""
    ends = bounds.values()
    return max(0.0, max(bound.upper for bound in ends) - min(bound.lower for bound in ends)) if ends else 0.0


def counted(record: Record, metric: str, zero: Bound | None) -> PerSeed | None:
    """[N] a metric with a number for failed seeds too, for aggregates: those that finished alone would flatter a method
    that diverges.

    A failed seed counts as the lower end of the bound `zero`, that of the random policy say, or as the worst of what
    its own curve of that metric showed and of what the other seeds score, if that is lower. So no seed gains by
    diverging.

    Returns: None for a failed seed if there is no such bound; None as a whole without the metric.
    """
    values = record.metrics.get(metric)
    if values is None:
        return None
    if zero is None:
        return values
    return [_floor(record, metric, index, zero) if value is None else value for index, value in enumerate(values)]


def counted_curve(record: Record, metric: str, zero: Bound) -> list[list[float]]:
    """[E][N] the learning curve of a metric, where what failed seeds lack counts as their score does in `counted`.
    Raises: KeyError without that curve."""
    floors = [_floor(record, metric, index, zero) for index in range(len(record.seeds))]
    return [
        [low if value is None else value for value, low in zip(row, floors)] for row in record.curves[metric].values
    ]


def scaled_counted(record: Record, metric: str, zero: str, one: str, bounds: Mapping[str, Bound]) -> list[float] | None:
    """[N] a metric as a score that is 0 at the lower end of the bound `zero` and 1 at that of `one`.

    bounds: of the task. Scores that are compared are between the same ones, whatever each record says.

    Lower ends are values of policies that are kept. Where the bound is not exact, a score may pass 1 without being
    wrong; `exceeds_bound` compares with the upper end. Failed seeds count as in `counted`.

    Returns: None without the metric, or where the bounds allow no such score (see `scale_ends`).
    """
    ends = scale_ends(bounds, zero, one)
    return None if ends is None else counted_between(record, metric, bounds[zero], ends)


def counted_between(record: Record, metric: str, zero: Bound, ends: tuple[float, float]) -> list[float] | None:
    """The same where `scale_ends` of the task is known."""
    values = counted(record, metric, zero)
    return None if values is None else [between(value, *ends) for value in values if value is not None]


def exceeds_bound(record: Record, metric: str) -> str | None:
    """What proves that a record is wrong: a score above the proven upper end of a bound that it cannot pass.

    metric: the score that the bounds are of. The bound is the least upper end of those that `record.bounded_by` names.

    - Exact seeds (no episodes): one of them above the bound by 1e-6 (relative where the bound exceeds 1). No false
      alarms.
    - Sampled seeds: their mean above the bound by five of its standard errors (those of the seeds, pooled) and by
      15 / M of the reach of the record's bounds, their largest upper less their smallest lower end, for M episodes in
      all. One-sided, five sigmas are a false-alarm rate of 3e-7 for each record. That holds while the mean return is
      close to normal; the second term is for the case where it is not, an optimal policy whose rare losses did not
      occur: a loss of that size and of probability 15 / M stays unseen in M episodes with chance exp(-15), which is
      3e-7 again. Without all their standard errors they are not judged.

    Returns: a sentence, or None if nothing is proved.
    """
    if not record.bounded_by:
        return None
    name = min(record.bounded_by, key=lambda name: record.bounds[name].upper)
    bound = record.bounds[name].upper
    limit = bound + TOLERANCE * max(1.0, abs(bound))
    if max(record.finished(metric), default=-math.inf) <= limit:
        return None
    evidence = _exact_above(record, metric, limit) or _sampled_above(record, metric, limit)
    if evidence is None:
        return None
    return (
        f"{record.method} on {record.task}: {evidence}, above the proven bound {bound:.8g} ({name}); "
        "the method, the evaluation or the bound is wrong"
    )


def proves_above(records: Sequence[Record], metric: str, bound: str, means: Sequence[Estimate | None]) -> list[bool]:
    """Whether the seeds of each record show that its method does better than a bound allows: the low end of the
    interval of their mean exceeds the bound's *upper* end, also if losses too rare for the episodes that were sampled
    are counted in (see `exceeds_bound`). Failed seeds count as in `counted`. Each such proof errs in 2.5% of cases,
    each by itself.

    With `memoryless_stochastic` for the bound, this proves memory. False without the metric, the bound or an interval.

    Args: means: of the seeds of each that finished, None where none did.
    """
    lows = [None if mean is None else mean.low for mean in means]
    failing = [index for index, record in enumerate(records) if record.failed]
    samples = [_counted_values(records[index], metric, bound) for index in failing]
    # All at once: one by one, intervals take nearly all of the time.
    found = iter(estimates([values for values in samples if values]))
    for index, values in zip(failing, samples, strict=True):
        lows[index] = next(found).low if values else None
    return [low is not None and _proves(record, bound, low) for record, low in zip(records, lows, strict=True)]


def _counted_values(record: Record, metric: str, bound: str) -> list[float]:
    values = counted(record, metric, record.bounds.get(bound)) or []
    return [value for value in values if value is not None]


def _proves(record: Record, bound: str, low: float) -> bool:
    """low: of the interval of the mean."""
    if bound not in record.bounds:
        return False
    upper = record.bounds[bound].upper
    needed = upper + TOLERANCE * max(1.0, abs(upper))
    return low > needed and low - _unseen(record, UNSEEN_BY_INTERVALS) > needed


def _floor(record: Record, metric: str, index: int, zero: Bound) -> float:
    """What one seed counts for where it has failed."""
    return min([zero.lower, *record.finished(metric), *_shown(record, metric, index)])


def _shown(record: Record, metric: str, index: int) -> list[float]:
    """What one seed's curve of a metric held before it failed."""
    curve = record.curves.get(metric)
    rows = [] if curve is None else curve.values
    return [value for row in rows if (value := row[index]) is not None]


def _exact_above(record: Record, metric: str, limit: float) -> str | None:
    values = record.metrics.get(metric, [])
    exact = [value for value, episodes in zip(values, record.episodes) if value is not None and episodes is None]
    return f"a seed scores {max(exact):.8g}" if exact and max(exact) > limit else None


def _sampled_above(record: Record, metric: str, limit: float) -> str | None:
    values = record.metrics.get(metric, [])
    errors: Sequence[float | None] = record.standard_errors.get(metric, [None] * len(values))
    sampled = [
        (value, error, episodes)
        for value, error, episodes in zip(values, errors, record.episodes)
        if value is not None and episodes is not None
    ]
    present = [error for _, error, _ in sampled if error is not None]
    if not sampled or len(present) < len(sampled):
        return None
    average = math.fsum(value for value, _, _ in sampled) / len(sampled)
    standard_error = math.hypot(*present) / len(sampled)
    if average - SIGMAS * standard_error - _unseen(record, UNSEEN) <= limit:
        return None
    return f"the seeds score {average:.8g} on average (standard error {standard_error:.2g})"


def _unseen(record: Record, exponent: float) -> float:
    """What losses may cost on average that did not occur in sampled episodes, but for a chance of exp(-exponent)."""
    if not any(record.episodes):
        return 0.0
    finished = (str(seed) not in record.failures for seed in record.seeds)
    sampled = sum(episodes or 0 for episodes, counts in zip(record.episodes, finished, strict=True) if counts)
    return exponent / sampled * reach(record.bounds) if sampled else 0.0
