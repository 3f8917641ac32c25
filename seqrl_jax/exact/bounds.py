"""The history value: exact where the beliefs can be listed, an interval where they cannot."""

from __future__ import annotations

import numpy as np

from seqrl_jax.exact.belief import BeliefGraph, belief_graph, history_policy
from seqrl_jax.exact.budget import DEFAULT, Meter, OverBudget, Watch, unseen
from seqrl_jax.exact.controller import Controller, controller_from_graph, evaluate_controller, trimmed
from seqrl_jax.exact.grid import embedded, faces, snapped, transition_to_grid
from seqrl_jax.exact.interval import Interval
from seqrl_jax.exact.plans import likely_beliefs, point_based_controller
from seqrl_jax.exact.pruning import pruned_controller
from seqrl_jax.exact.state import largest_return
from seqrl_jax.exact.trials import by_steps, plans_by_step
from seqrl_jax.tasks.tabular import TabularPOMDP

MOST_BELIEFS = 300_000
LISTING = 0.4
"""Of the seconds of a budget, what may be taken to list beliefs."""
UPPER_POINTS = 12_000
LOWER_POINTS = 3_000
LIKELY_POINTS = 1_000
PRUNING = 5e8
"""Work that may be taken to list plans, if as much is left; it is in small pieces, which take their time."""
FOR_PRUNING = 0.3
"""Of the seconds that are left, the same."""
TRIAL_TOLERANCE = 1e-9
"""Of the largest return: how far apart the ends may be that trials leave."""
ROUNDING = 1e-9
"""Of the largest return."""


def history_interval(task: TabularPOMDP, limit: int = MOST_BELIEFS) -> tuple[Interval, Controller]:
    """The best value of a policy of the whole history, and the kept policy: exact up to `limit` reachable beliefs."""
    reachable, meter = belief_graph(task, limit), Meter(DEFAULT)
    return listed_interval(task, reachable) if reachable is not None else bounded_interval(task, meter, unseen)


def listed_interval(task: TabularPOMDP, reachable: BeliefGraph) -> tuple[Interval, Controller]:
    """By recursion over all reachable beliefs, to within the rounding with which they were distinguished."""
    value, actions = history_policy(reachable.graph)
    error = reachable.error * largest_return(task)
    method = f"exact: recursion over {reachable.graph.num_nodes} beliefs"
    return Interval(value - error, value + error, method), controller_from_graph(reachable.graph, actions)


def bounded_interval(task: TabularPOMDP, meter: Meter, watch: Watch) -> tuple[Interval, Controller]:
    """Trials close both ends. Where they stall, the plans of a task of few states are pruned instead. Where these are
    too many, plans that are best on a grid and at likely beliefs may raise the lower end, and interpolation on the grid
    may reduce the upper one; what is left of the budget goes to trials again. Every lower end is the exact value of the
    controller that is kept.
    """
    informed = fast_informed_bound(task)[1]
    scale = largest_return(task)
    tolerance = TRIAL_TOLERANCE * scale
    search = by_steps(task, informed, meter)
    search.close(tolerance, watch, patient=False)
    controllers, bounds = {}, {}
    lower, upper = search.ends()
    pruned = _pruned(task, meter) if upper - lower > tolerance else None
    if pruned is not None:
        bounds["incremental pruning"], controllers["incremental pruning"] = pruned
    elif upper - lower > tolerance:
        try:
            bounds["grid interpolation"] = grid_bound(task, UPPER_POINTS, meter)
            points = [embedded(task, faces(task, LOWER_POINTS)), likely_beliefs(task, informed, LIKELY_POINTS)]
            controllers["point-based plans"] = point_based_controller(task, np.concatenate(points), meter)
        except OverBudget:
            pass
    values = {name: evaluate_controller(task, controller) for name, controller in controllers.items()}
    if pruned is None:
        least, most = max(values.values(), default=-np.inf), min(bounds.values(), default=np.inf)
        search.close(tolerance, watch, known=(least, most))
    controllers["trials"], bounds["trials"] = trimmed(plans_by_step(search)), search.ends()[1]
    values["trials"] = evaluate_controller(task, controllers["trials"])
    below, above = max(values, key=values.__getitem__), min(bounds, key=bounds.__getitem__)
    lower, upper = values[below], bounds[above]
    if upper < lower - ROUNDING * scale:
        raise AssertionError(f"{task.name}: the upper end by {above} is {upper}, below {lower}, the value of a policy")
    nodes = len(controllers[below].action)
    method = f"lower: controller of {nodes} nodes by {below}; upper: {above} ({search.trials} trials)"
    return Interval(lower, max(lower, upper), method), controllers[below]


def _pruned(task: TabularPOMDP, meter: Meter) -> tuple[float, Controller] | None:
    """What incremental pruning says of both ends; None where it takes too much."""
    part = meter.part(min(PRUNING, max(1.0, meter.budget.work - meter.work)), FOR_PRUNING)
    try:
        return pruned_controller(task, part)
    except OverBudget:
        return None
    finally:
        meter.work += part.work


def fast_informed_bound(task: TabularPOMDP) -> tuple[float, np.ndarray]:
    """An upper bound that sees the state one step late: Hauskrecht (2000), section 4.3.

    `Q_t(s, a) = R(s, a) + gamma sum_o max_a' sum_s' P(s', o | s, a) Q_{t+1}(s', a')`.

    Returns: the bound at the start, and Q: [H, A, S]; `max_a b . Q_t(., a)` bounds the value of belief b at step t.
    """
    kernel = task.kernel
    steps = [kernel.reward]
    for _ in range(task.horizon - 1):
        steps.append(kernel.reward + task.discount * kernel.ahead_informed(steps[-1]))
    return _at_start(task, steps[-1]), np.array(steps[::-1])


def grid_bound(task: TabularPOMDP, budget: int, meter: Meter) -> float:
    """Backward induction on grid points, with interpolation in between and the fast informed bound at each point.

    Raises: OverBudget.
    """
    grid = faces(task, budget)
    points = embedded(task, grid)
    informed = fast_informed_bound(task)[1]
    reward = task.kernel.reward
    ahead = transition_to_grid(task, grid, points, meter)
    value = np.zeros(len(points))
    for t in reversed(range(1, task.horizon)):
        action_values = points @ reward.T + task.discount * (ahead @ value).reshape(len(points), -1)
        value = np.minimum(action_values.max(1), (points @ informed[t].T).max(1))
    start = task.kernel.first[1]
    first = transition_to_grid(task, grid, start, meter)
    bound = float((start @ reward.T + task.discount * (first @ value).reshape(len(start), -1)).max(1).sum())
    return bound + task.horizon * snapped(grid) * largest_return(task)


def _at_start(task: TabularPOMDP, action_values: np.ndarray) -> float:
    """`sum_o P(o_0 = o) max_a E[Q(s, a) given o]`, from Q [A, S]."""
    return float((task.kernel.first[1] @ action_values.T).max(1).sum())
