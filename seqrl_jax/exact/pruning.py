"""Incremental pruning: all plans of which each is the best at some belief, for tasks of few states.

With so many steps to go the history value is the largest of finitely many linear functions of the belief. Of an action,
they are sums of one such function for every observation: the sums are formed one observation at a time, and those that
are nowhere the best are left out before the next (`hull.excesses`). Beliefs need not be listed, so that tasks whose
beliefs are too many are solved exactly; of more than a few states, the plans are too many.

Source: Cassandra, Littman & Zhang (1997), Incremental pruning; Lark's test, in White (1991), for what is left out.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from seqrl_jax.exact.budget import Meter, OverBudget
from seqrl_jax.exact.controller import Controller, trimmed
from seqrl_jax.exact.hull import excesses, regions
from seqrl_jax.exact.plans import joined
from seqrl_jax.exact.state import largest_return
from seqrl_jax.tasks.tabular import TabularPOMDP

FEW_STATES, FEW_OBSERVATIONS = 10, 64
"""Of more states plans are too many, of more observations the sets that are added."""
TOLERANCE = 5e-8
"""Of the largest return: what all plans that are left out may be better by, in all steps together."""
SAMPLED = 400
"""Beliefs at which the best plans stay without a test."""
ENTRIES = 4_000_000
"""Numbers that a batch of tests holds at once."""
MARGIN = 1e-9
"""Shares of a state that differ by less may be equal."""
OVERHEAD = 100_000
"""What it takes to add two sets, however small they are, in products of numbers."""
SHARE_OF_MEMORY = 1 / 16
"""What a single array may take of it."""
TESTS = 10
"""Passes over all plans that a test is reckoned at."""


class _Plans(NamedTuple):
    """alpha: [K, S], what each earns from every state. choice: [K, O], which plan follows each observation."""

    alpha: np.ndarray
    choice: np.ndarray

    def some(self, which: np.ndarray) -> _Plans:
        return _Plans(self.alpha[which], self.choice[which])


def pruned_controller(task: TabularPOMDP, meter: Meter) -> tuple[float, Controller]:
    """An upper end of the history value, and a controller whose value is below it by `TOLERANCE` at most.

    Raises: OverBudget, when the work or the seconds of `meter`, or a part of its memory, are not enough, and where
        states or observations are more than a few.
    """
    if task.num_states > FEW_STATES or task.num_observations > FEW_OBSERVATIONS:
        raise OverBudget
    kernel = task.kernel
    sieve = _Sieve(task, meter)
    alpha, error = np.zeros((1, task.num_states)), 0.0
    steps: list[tuple[np.ndarray, np.ndarray]] = []
    for _ in range(task.horizon):
        parts = [_of_action(task, a, alpha, sieve) for a in range(kernel.num_actions)]
        plans = _Plans(*(np.concatenate(part) for part in zip(*(plans for plans, _ in parts), strict=True)))
        action = np.repeat(np.arange(len(parts)), [len(plans.alpha) for plans, _ in parts])
        useful, left_out = sieve.best(plans.alpha)
        alpha = plans.alpha[useful]
        error = task.discount * error + max(wrong for _, wrong in parts) + left_out
        steps.append((action[useful], plans.choice[useful]))
    shown, joint = kernel.first
    values = joint @ alpha.T
    start = np.zeros(task.num_observations, np.int32)
    start[shown] = values.argmax(1)
    return float(values.max(1).sum()) + error, trimmed(joined(steps[::-1], start))


def _of_action(task: TabularPOMDP, action: int, after: np.ndarray, sieve: _Sieve) -> tuple[_Plans, float]:
    """The best plans that begin with an action, and what others may be better by.

    Args: after: [K, S], of the plans with one step less to go.
    """
    num_o = task.num_observations
    parts, error = [], 0.0
    for (a, o), branch in task.kernel.branches.items():
        if a == action:
            alpha = task.discount * (branch @ after.T).T
            useful, left_out = sieve.best(alpha)
            choice = np.zeros((len(useful), num_o), int)
            choice[:, o] = useful
            parts.append(_Plans(alpha[useful], choice))
            error += left_out
    parts = parts or [_Plans(np.zeros((1, task.num_states)), np.zeros((1, num_o), int))]
    while len(parts) > 1:
        one, other, *parts = sorted(parts, key=lambda plans: len(plans.alpha))
        mine, theirs = sieve.pairs(one.alpha, other.alpha)
        # Each chooses behind observations of its own.
        sums = _Plans(one.alpha[mine] + other.alpha[theirs], one.choice[mine] + other.choice[theirs])
        useful, left_out = sieve.best(sums.alpha)
        parts.append(sums.some(useful))
        error += left_out
    (plans,) = parts
    return plans._replace(alpha=plans.alpha + task.kernel.reward[action]), error


class _Sieve:
    """Leaves out plans that are nowhere the best."""

    def __init__(self, task: TabularPOMDP, meter: Meter) -> None:
        rng = np.random.default_rng(0)
        num_s = task.num_states
        inner, outer = (rng.dirichlet(np.full(num_s, weight), SAMPLED // 2) for weight in (1.0, 1 / num_s))
        self._beliefs = np.concatenate([np.eye(num_s), inner, outer])
        # A step prunes once for each observation, once for each sum of two sets, and once over all actions.
        prunings = task.horizon * 2 * task.num_observations
        self._tolerance = TOLERANCE / prunings * largest_return(task)
        self._meter, self._num_observations = meter, task.num_observations

    def pairs(self, one: np.ndarray, other: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Of plans [K, S] and [L, S], the pairs [N] and [N] that may be best together: both are so at one belief."""
        num_s = one.shape[1]
        self._spend(OVERHEAD, len(one) * len(other) * num_s)
        boxes = []
        for alpha in (one, other):
            self._spend(TESTS * 2 * num_s * len(alpha) * alpha.size, 2 * alpha.size * (len(alpha) + num_s))
            boxes.append(regions(alpha))
        (low, high), (least, most) = boxes
        disjoint = (low[:, None] > most + MARGIN) | (least > high[:, None] + MARGIN)
        mine, theirs = np.nonzero(~disjoint.any(2))
        return mine, theirs

    def best(self, alpha: np.ndarray) -> tuple[np.ndarray, float]:
        """Of plans [K, S], the numbers of those to keep, and by how much others are better anywhere, at most."""
        useful, tested = np.zeros(len(alpha), bool), np.ones(len(alpha), bool)
        self._spend(alpha.size * len(self._beliefs), len(alpha) * (len(self._beliefs) + self._num_observations))
        useful[(alpha @ self._beliefs.T).argmax(0)] = True
        error, tested = 0.0, ~useful
        while tested.any():
            stand = alpha[useful]
            some = np.flatnonzero(tested)[: max(1, ENTRIES // len(stand))]
            self._spend(TESTS * len(some) * stand.size, len(some) * len(stand))
            excess, belief = excesses(alpha[some], stand)
            worse = excess <= self._tolerance
            error = max(error, float(excess[worse].max(initial=0)))
            tested[some[worse]] = False
            if worse.all():
                continue
            # Where one of these is above those that stand, the best of all that are left is needed.
            left, where = np.flatnonzero(tested), belief[~worse]
            values = where @ alpha[left].T
            witnessed = left[values.argmax(1)][values.max(1) > (where @ stand.T).max(1)]
            # Where rounding hides the place, a plan stays whether it is needed or not.
            witnessed = witnessed if len(witnessed) else some[~worse]
            useful[witnessed], tested[witnessed] = True, False
        return np.flatnonzero(useful), error

    def _spend(self, work: float, numbers: int = 0) -> None:
        """Count work, before an array of so many numbers is made. Raises: OverBudget."""
        self._meter.work += work
        if self._meter.spent() > 1 or 8 * numbers > SHARE_OF_MEMORY * self._meter.budget.memory:
            raise OverBudget
