"""From seeds to numbers that can be compared: scores between certified values, robust means, intervals, proofs of bugs.

Sources: Agarwal et al. (2021), "Deep reinforcement learning at the edge of the statistical precipice": interquartile
mean (section 4.3) and stratified percentile bootstrap (section 4.1).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from seqrl_jax.results.store import Cell

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike

    Statistic = Callable[..., Any]

RESAMPLES = 4999
MIN_RANGE = 1e-9
TOLERANCE = 1e-6
SIGMAS = 5.0
# exp(-15) = 3e-7, the false-alarm rate of five sigmas.
UNSEEN = 15.0


def mean(x: ArrayLike, axis: int = -1) -> Any:
    """The mean along an axis."""
    import numpy as np

    return np.asarray(x).mean(axis=axis)


def iqm(x: ArrayLike, axis: int = -1) -> Any:
    """Interquartile mean: the mean of what is left when the lowest and highest quarter (rounded down) are cut."""
    from scipy.stats import trim_mean

    return trim_mean(x, 0.25, axis=axis)


def interval(x: ArrayLike, statistic: Statistic = mean, confidence: float = 0.95, seed: int = 0) -> tuple[float, float]:
    """Percentile bootstrap interval of a statistic of one sample.

    Args:
        x: [N], at least one value.
        statistic: called with (array, axis=...), as `mean` and `iqm` are.
    Returns: (low, high), the statistic itself twice where resampling cannot move it.
    Raises: ValueError if x is empty.
    """
    return stratified_interval([x], statistic, confidence, seed)


def stratified_interval(
    samples: Sequence[ArrayLike], statistic: Statistic = iqm, confidence: float = 0.95, seed: int = 0
) -> tuple[float, float]:
    """Percentile bootstrap interval of a statistic of several pooled samples, each resampled within itself.

    With one sample for each task, this is the interval of an aggregate over tasks: seeds are drawn again, tasks not.

    Args:
        samples: [tasks][N_task] values; the statistic is of all of them together.
        statistic: called with (array, axis=...), as `mean` and `iqm` are.
    Returns: (low, high), the statistic itself twice where resampling cannot move it.
    Raises: ValueError if there is no value at all.
    """
    import numpy as np
    from scipy.stats import bootstrap

    arrays = [np.asarray(sample, np.float64) for sample in samples]
    arrays = [array for array in arrays if array.size]
    if not arrays:
        raise ValueError("an interval needs at least one value")
    moving = [array for array in arrays if np.ptp(array) > 0]
    still = np.concatenate([array for array in arrays if np.ptp(array) == 0] or [np.empty(0)])
    if not moving:
        point = float(statistic(still, axis=-1))
        return point, point

    def pooled(*resampled: np.ndarray, axis: int) -> Any:
        lead = resampled[0].shape[:-1]
        fixed = np.broadcast_to(still, (*lead, still.size))
        return statistic(np.concatenate([*resampled, fixed], axis=-1), axis=axis)

    found = bootstrap(
        moving,
        pooled,
        n_resamples=RESAMPLES,
        batch=1000,
        vectorized=True,
        axis=-1,
        confidence_level=confidence,
        method="percentile",
        random_state=np.random.default_rng(seed),
    )
    return float(found.confidence_interval.low), float(found.confidence_interval.high)


def normalised(J: float, random: float, history: float) -> float | None:
    """0 for the uniform policy, 1 for the best policy of the history: (J - random) / (history - random).

    Certified values are intervals: pass their *lower* ends, which are values of policies that are kept. Where history
    is not exact, a score may therefore pass 1 without being wrong; `exceeds_optimum` compares with the upper end.

    Returns: None if history does not exceed random by more than 1e-9.
    """
    return _between(J, random, history)


def memory_score(J: float, memoryless_stochastic: float, history: float) -> float | None:
    """0 for the best memoryless policy, 1 for the best policy of the history; above 0, memory is used.

    Lower ends of the certified values, as for `normalised`.

    Returns: None if history does not exceed memoryless_stochastic by more than 1e-9.
    """
    return _between(J, memoryless_stochastic, history)


def exceeds_optimum(cell: Cell) -> str | None:
    """What proves that a cell is wrong: a score above the proven upper bound of what its policy can reach.

    The bound is `history.upper`, and for an agent marked memoryless `memoryless_stochastic.upper` too.

    - Exactly evaluated: one seed above the bound by 1e-6 (relative where the bound exceeds 1). No false alarms.
    - Simulated: the mean over seeds above the bound by five of its standard errors (those of the seeds, pooled) and
      by 15 / M of `state.upper - random.lower`, for M episodes in all. One-sided, five sigmas are a false-alarm rate
      of 3e-7 for each cell. That holds while the mean return is close to normal; the second term is for the case
      where it is not, an optimal policy whose rare losses did not occur: a loss of that size and of probability
      15 / M stays unseen in M episodes with chance exp(-15), which is 3e-7 again. A cell without standard errors is
      not judged.

    Returns: a sentence, or None if nothing is proved.
    """
    names = ["history", "memoryless_stochastic"] if cell.memoryless else ["history"]
    name = min(names, key=lambda name: cell.certified[name]["upper"])
    bound = cell.certified[name]["upper"]
    slack = TOLERANCE * max(1.0, abs(bound))
    scores = cell.finished
    if not scores:
        return None
    if cell.episodes is None:
        if max(scores) <= bound + slack:
            return None
        found = f"a seed scores {max(scores):.8g}"
    else:
        errors = [error for score, error in zip(cell.scores, cell.standard_errors) if score is not None]
        known = [error for error in errors if error is not None]
        if len(known) < len(errors):
            return None
        average = math.fsum(scores) / len(scores)
        standard_error = math.sqrt(math.fsum(error**2 for error in known)) / len(scores)
        reach = cell.certified["state"]["upper"] - cell.certified["random"]["lower"]
        unseen = UNSEEN / (cell.episodes * len(scores)) * max(reach, 0.0)
        if average - SIGMAS * standard_error - unseen <= bound + slack:
            return None
        found = f"the seeds score {average:.8g} on average (standard error {standard_error:.2g})"
    return (
        f"{cell.agent} on {cell.task}: {found}, above the proven bound {bound:.8g} ({name}); "
        "the agent, the evaluation or the certificate is wrong"
    )


def _between(J: float, zero: float, one: float) -> float | None:
    return (J - zero) / (one - zero) if one - zero > MIN_RANGE else None
