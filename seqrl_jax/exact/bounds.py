"""The history value: exact where the beliefs can be listed, an interval where they cannot."""

from __future__ import annotations

import numpy as np

from seqrl_jax.exact.belief import belief_graph, history_policy
from seqrl_jax.exact.controller import Controller, controller_from_graph, evaluate_controller
from seqrl_jax.exact.grid import embedded, faces, transition_to_grid
from seqrl_jax.exact.interval import Interval
from seqrl_jax.exact.plans import likely_beliefs, point_based_controller
from seqrl_jax.exact.state import expected_reward
from seqrl_jax.tasks.tabular import TabularPOMDP

UPPER_POINTS = 12_000
LOWER_POINTS = 3_000
LIKELY_POINTS = 1_000


def history_interval(task: TabularPOMDP, limit: int = 300_000) -> tuple[Interval, Controller]:
    """The best value of a policy of the whole history, and the kept policy.

    Up to `limit` reachable beliefs: exact, by recursion over them. Beyond: the lower end is the exact value of a
    controller made of point-based plans, best on a grid and on likely beliefs; the upper end the least of QMDP, the
    fast informed bound and grid interpolation.
    """
    reachable = belief_graph(task, limit)
    if reachable is not None:
        value, actions = history_policy(reachable.graph)
        controller = controller_from_graph(reachable.graph, actions)
        return Interval(value, value, f"exact: recursion over {reachable.graph.num_nodes} beliefs"), controller
    informed, informed_values = fast_informed_bound(task)
    grid = embedded(task, faces(task, LOWER_POINTS))
    likely = likely_beliefs(task, informed_values, LIKELY_POINTS)
    controller = point_based_controller(task, np.concatenate([grid, likely]))
    lower = evaluate_controller(task, controller)
    bounds = {
        "QMDP": qmdp_bound(task),
        "fast informed bound": informed,
        "grid interpolation": grid_bound(task, UPPER_POINTS),
    }
    name = min(bounds, key=lambda key: bounds[key])
    if bounds[name] < lower - 1e-9:
        raise AssertionError(f"{task.name}: the {name} is {bounds[name]}, below {lower}, the value of a policy")
    method = f"lower: controller of {len(controller.action)} point-based plans; upper: {name}"
    return Interval(lower, max(lower, bounds[name]), method), controller


def qmdp_bound(task: TabularPOMDP) -> float:
    """The value if the state were seen from the second step on: Littman, Cassandra & Kaelbling (1995)."""
    reward = expected_reward(task)
    action_values = reward
    for _ in range(task.horizon - 1):
        action_values = reward + task.discount * task.transition @ action_values.max(0)
    return _at_start(task, action_values)


def fast_informed_bound(task: TabularPOMDP) -> tuple[float, np.ndarray]:
    """An upper bound that sees the state one step late: Hauskrecht (2000), section 4.3.

    `Q_t(s, a) = R(s, a) + gamma sum_o max_a' sum_s' P(s', o | s, a) Q_{t+1}(s', a')`.

    Returns: the bound at the start, and Q: [H, A, S]; `max_a b . Q_t(., a)` bounds the value of belief b at step t.
    """
    reward = expected_reward(task)
    alive = task.transition * ~task.terminal
    steps = [reward]
    for _ in range(task.horizon - 1):
        ahead = np.zeros_like(reward)
        for o in np.flatnonzero(task.observation.any((0, 1))):
            seen = alive * task.observation[:, None, :, o]
            ahead += (seen @ steps[-1].T).max(-1)
        steps.append(reward + task.discount * ahead)
    return _at_start(task, steps[-1]), np.array(steps[::-1])


def grid_bound(task: TabularPOMDP, budget: int) -> float:
    """Backward induction on grid points, with interpolation in between and the fast informed bound at each point."""
    grid = faces(task, budget)
    points = embedded(task, grid)
    informed = fast_informed_bound(task)[1]
    reward = expected_reward(task)
    ahead = transition_to_grid(task, grid, points)
    value = np.zeros(len(points))
    for t in reversed(range(1, task.horizon)):
        action_values = points @ reward.T + task.discount * (ahead @ value).reshape(len(points), -1)
        value = np.minimum(action_values.max(1), (points @ informed[t].T).max(1))
    joint = (task.initial[:, None] * task.initial_observation).T
    start = joint[joint.any(1)]
    first = transition_to_grid(task, grid, start)
    return float((start @ reward.T + task.discount * (first @ value).reshape(len(start), -1)).max(1).sum())


def _at_start(task: TabularPOMDP, action_values: np.ndarray) -> float:
    """`sum_o P(o_0 = o) max_a E[Q(s, a) given o]`, from Q [A, S]."""
    joint = (task.initial[:, None] * task.initial_observation).T
    return float((joint @ action_values.T).max(1).sum())
