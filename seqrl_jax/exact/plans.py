"""Point-based value iteration: plans that are best at chosen beliefs, joined into a controller of known value.

Pineau, Gordon & Thrun (2003). With a finite horizon every alpha vector is the exact value of a plan, so the
controller that follows the plans proves a lower end.
"""

from __future__ import annotations

import numpy as np

from seqrl_jax.exact.controller import Controller
from seqrl_jax.exact.state import expected_reward
from seqrl_jax.tasks.tabular import TabularPOMDP


def point_based_controller(task: TabularPOMDP, beliefs: np.ndarray) -> Controller:
    """Plans for every number of steps to go, each the best at some of the `beliefs` [N, S]."""
    num_a, num_s, num_o = task.observation.shape
    alive = task.transition * ~task.terminal
    # branch[a, o] = P(s', o, not ended | s, a), [A, O, S, S'].
    branch = np.einsum("ast,ato->aost", alive, task.observation)
    reward = expected_reward(task)
    joint = (task.initial[:, None] * task.initial_observation).T
    shown = np.flatnonzero(joint.any(1))

    alpha = np.zeros((1, num_s))
    steps: list[tuple[np.ndarray, np.ndarray]] = []
    for to_go in range(1, task.horizon + 1):
        points = joint[shown] if to_go == task.horizon else beliefs
        values = np.empty((num_a, len(points)))
        best = np.empty((num_a, len(points), num_o), np.int32)
        for a in range(num_a):
            values[a] = points @ reward[a]
            for o in range(num_o):
                # ahead[n, s]: value of plan n after (a, o), seen from s.
                ahead = task.discount * alpha @ branch[a, o].T
                scores = points @ ahead.T
                best[a, :, o] = scores.argmax(1)
                values[a] += scores.max(1)
        action = values.argmax(0).astype(np.int32)
        plans = np.unique(np.column_stack([action, best[action, np.arange(len(points))]]), axis=0)
        action, successor = plans[:, 0], plans[:, 1:]
        previous = alpha
        alpha = reward[action].copy()
        for a in np.unique(action):
            mine = action == a
            for o in range(num_o):
                alpha[mine] += task.discount * previous[successor[mine, o]] @ branch[a, o].T
        steps.append((action, successor))

    start = np.zeros(num_o, np.int32)
    start[shown] = (joint[shown] @ alpha.T).argmax(1)
    return _joined(steps[::-1], start)


def _joined(steps: list[tuple[np.ndarray, np.ndarray]], start: np.ndarray) -> Controller:
    """The plans of all steps, the first step's first, with successors numbered through."""
    ends = np.cumsum([len(action) for action, _ in steps])
    successors = [successor + end for (_, successor), end in zip(steps[:-1], ends)]
    successors.append(np.zeros_like(steps[-1][1]))
    return Controller(
        start, np.concatenate([action for action, _ in steps]), np.concatenate(successors).astype(np.int32)
    )
