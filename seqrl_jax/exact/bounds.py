"""The history value: exact where the beliefs can be listed, an interval where they cannot."""

from __future__ import annotations

import numpy as np

from seqrl_jax.exact.belief import belief_graph, history_policy
from seqrl_jax.exact.controller import Controller, controller_from_graph, evaluate_controller
from seqrl_jax.exact.grid import embedded, faces, transition_to_grid
from seqrl_jax.exact.interval import Interval
from seqrl_jax.exact.plans import likely_beliefs, point_based_controller
from seqrl_jax.exact.state import largest_return
from seqrl_jax.exact.trials import closed
from seqrl_jax.tasks.tabular import TabularPOMDP

UPPER_POINTS = 12_000
LOWER_POINTS = 3_000
LIKELY_POINTS = 1_000
TRIAL_TOLERANCE = 1e-9
"""Of the largest return: how far apart the ends may be that trials leave."""
TRIAL_WORK = 1e10
"""See `trials.closed`: some seconds."""
ROUNDING = 1e-9
"""Of the largest return."""


def history_interval(task: TabularPOMDP, limit: int = 300_000) -> tuple[Interval, Controller]:
    """The best value of a policy of the whole history, and the kept policy.

    Up to `limit` reachable beliefs: exact, by recursion over them. Beyond, trials close both ends; where they leave a
    gap, plans that are best on a grid and at likely beliefs may raise the lower end, and interpolation on the grid may
    reduce the upper one. Every lower end is the exact value of the controller that is kept.
    """
    reachable = belief_graph(task, limit)
    if reachable is not None:
        value, actions = history_policy(reachable.graph)
        controller = controller_from_graph(reachable.graph, actions)
        return Interval(value, value, f"exact: recursion over {reachable.graph.num_nodes} beliefs"), controller
    informed_values = fast_informed_bound(task)[1]
    scale = largest_return(task)
    ends = closed(task, informed_values, TRIAL_TOLERANCE * scale, TRIAL_WORK)
    controllers = {"trials": ends.controller}
    bounds = {"trials": ends.upper}
    if ends.upper - ends.lower > TRIAL_TOLERANCE * scale:
        grid = embedded(task, faces(task, LOWER_POINTS))
        likely = likely_beliefs(task, informed_values, LIKELY_POINTS)
        controllers["point-based plans"] = point_based_controller(task, np.concatenate([grid, likely]))
        bounds["grid interpolation"] = grid_bound(task, UPPER_POINTS)
    values = {name: evaluate_controller(task, controller) for name, controller in controllers.items()}
    below, above = max(values, key=values.__getitem__), min(bounds, key=bounds.__getitem__)
    lower, upper = values[below], bounds[above]
    if upper < lower - ROUNDING * scale:
        raise AssertionError(f"{task.name}: the upper end by {above} is {upper}, below {lower}, the value of a policy")
    nodes = len(controllers[below].action)
    method = f"lower: controller of {nodes} nodes by {below}; upper: {above} ({ends.trials} trials)"
    return Interval(lower, max(lower, upper), method), controllers[below]


def fast_informed_bound(task: TabularPOMDP) -> tuple[float, np.ndarray]:
    """An upper bound that sees the state one step late: Hauskrecht (2000), section 4.3.

    `Q_t(s, a) = R(s, a) + gamma sum_o max_a' sum_s' P(s', o | s, a) Q_{t+1}(s', a')`.

    Returns: the bound at the start, and Q: [H, A, S]; `max_a b . Q_t(., a)` bounds the value of belief b at step t.
    """
    kernel = task.kernel
    steps = [kernel.reward]
    for _ in range(task.horizon - 1):
        ahead = np.zeros_like(kernel.reward)
        for (a, _), branch in kernel.branches.items():
            ahead[a] += (branch @ steps[-1].T).max(1)
        steps.append(kernel.reward + task.discount * ahead)
    return _at_start(task, steps[-1]), np.array(steps[::-1])


def grid_bound(task: TabularPOMDP, budget: int) -> float:
    """Backward induction on grid points, with interpolation in between and the fast informed bound at each point."""
    grid = faces(task, budget)
    points = embedded(task, grid)
    informed = fast_informed_bound(task)[1]
    reward = task.kernel.reward
    ahead = transition_to_grid(task, grid, points)
    value = np.zeros(len(points))
    for t in reversed(range(1, task.horizon)):
        action_values = points @ reward.T + task.discount * (ahead @ value).reshape(len(points), -1)
        value = np.minimum(action_values.max(1), (points @ informed[t].T).max(1))
    joint = task.kernel.start.T
    start = joint[joint.any(1)]
    first = transition_to_grid(task, grid, start)
    return float((start @ reward.T + task.discount * (first @ value).reshape(len(start), -1)).max(1).sum())


def _at_start(task: TabularPOMDP, action_values: np.ndarray) -> float:
    """`sum_o P(o_0 = o) max_a E[Q(s, a) given o]`, from Q [A, S]."""
    joint = task.kernel.start.T
    return float((joint @ action_values.T).max(1).sum())
