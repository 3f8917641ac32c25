"""Point-based value iteration: plans that are best at chosen beliefs, joined into a controller of known value.

Pineau, Gordon & Thrun (2003). With a finite horizon every alpha vector is the exact value of a plan, so the
controller that follows the plans proves a lower end.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from seqrl_jax.exact.budget import Meter
from seqrl_jax.exact.controller import Controller
from seqrl_jax.exact.state import largest_return
from seqrl_jax.tasks.tabular import TabularPOMDP

# Plans whose values, in shares of the largest return, and beliefs whose probabilities agree to this many digits are
# one. That is a choice of plans and of points: the controller's own value is what is proved.
DIGITS = 12


@dataclass(frozen=True, eq=False)
class _Arrival:
    """Where `action` and then `observation` lead from the points for which that can happen.

    points: [n], their numbers. states: [k], the states entered. mass: [n, k], not normalised.
    """

    action: int
    observation: int
    points: np.ndarray
    states: np.ndarray
    mass: np.ndarray


def point_based_controller(task: TabularPOMDP, beliefs: np.ndarray, meter: Meter) -> Controller:
    """Plans for every number of steps to go, each the best at some of the `beliefs` [N, S]. Raises: OverBudget."""
    scale = largest_return(task)
    num_s, num_o = task.num_states, task.num_observations
    kernel = task.kernel
    reward, branches = kernel.reward, kernel.branches
    shown, joint = kernel.first
    points, arrivals = beliefs, _arrivals(branches, beliefs)

    alpha = np.zeros((1, num_s))
    steps: list[tuple[np.ndarray, np.ndarray]] = []
    for to_go in range(1, task.horizon + 1):
        meter.stop_if_late()
        if to_go == task.horizon:
            points = joint
            arrivals = _arrivals(branches, points)
        values = reward @ points.T
        best = np.zeros((*values.shape, num_o), np.int32)
        for arrival in arrivals:
            scores = arrival.mass @ alpha[:, arrival.states].T
            best[arrival.action, arrival.points, arrival.observation] = scores.argmax(1)
            values[arrival.action, arrival.points] += task.discount * scores.max(1)
        action = values.argmax(0).astype(np.int32)
        plans = np.unique(np.column_stack([action, best[action, np.arange(len(points))]]), axis=0)
        previous, alpha = alpha, reward[plans[:, 0]]
        for (a, o), branch in branches.items():
            mine = np.flatnonzero(plans[:, 0] == a)
            successor, place = np.unique(plans[mine, 1 + o], return_inverse=True)
            alpha[mine] += task.discount * (branch @ previous[successor].T).T[place]
        distinct = np.unique(np.round(alpha / scale, DIGITS), axis=0, return_index=True)[1]
        alpha = alpha[distinct]
        steps.append((plans[distinct, 0], plans[distinct, 1:]))

    start = np.zeros(num_o, np.int32)
    start[shown] = (joint @ alpha.T).argmax(1)
    return joined(steps[::-1], start)


def likely_beliefs(task: TabularPOMDP, action_values: np.ndarray, budget: int) -> np.ndarray:
    """The most probable beliefs on the way of the policy that is greedy for `b . action_values[t, a]`.

    A grid on a face of many states is hardly more than its corners; these points stand where plans are needed.

    Args: action_values: [H, A, S]. budget: points in all, shared evenly by the steps (at least one each).
    Returns: [N, S].
    """
    branches = task.kernel.branches
    width = max(1, budget // task.horizon)
    _, mass = task.kernel.first
    met = []
    for values in action_values:
        mass = mass[np.argsort(-mass.sum(1), kind="stable")[:width]]
        met.append(mass / mass.sum(1, keepdims=True))
        action = (mass @ values.T).argmax(1)
        after = [(branch.T @ mass[action == a].T).T for (a, _), branch in branches.items()]
        mass = np.concatenate([mass[:0], *after])
        mass = _united(mass[mass.any(1)])
        if not len(mass):
            break
    return np.concatenate(met)


def _united(mass: np.ndarray) -> np.ndarray:
    """Rows [N, S] that are proportional to each other, added up."""
    belief = mass / mass.sum(1, keepdims=True)
    distinct, inverse = np.unique(np.round(belief, DIGITS), axis=0, return_inverse=True)
    total = np.zeros((len(distinct), mass.shape[1]))
    np.add.at(total, inverse, mass)
    return total


def _arrivals(branches: dict[tuple[int, int], sparse.csr_array], points: np.ndarray) -> list[_Arrival]:
    arrivals = []
    for (a, o), branch in branches.items():
        mass = (branch.T @ points.T).T
        some, states = np.flatnonzero(mass.any(1)), np.flatnonzero(mass.any(0))
        if len(some):
            arrivals.append(_Arrival(a, o, some, states, mass[np.ix_(some, states)]))
    return arrivals


def joined(steps: list[tuple[np.ndarray, np.ndarray]], start: np.ndarray) -> Controller:
    """Plans of all steps, the first step's first, as one controller with successors numbered through.

    Args: steps: action [K] and successor [K, O] of each step's plans. start: [O], the plan after o_0.
    """
    ends = np.cumsum([len(action) for action, _ in steps])
    successors = [successor + end for (_, successor), end in zip(steps[:-1], ends)]
    successors.append(np.zeros_like(steps[-1][1]))
    parts = (start, np.concatenate([action for action, _ in steps]), np.concatenate(successors))
    return Controller(*(part.astype(np.int32) for part in parts))
