"""The best policies that see only the current observation: stationary, deterministic or stochastic."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import product

import numpy as np

from seqrl_jax.exact.ascent import ascend, starts_within_budget
from seqrl_jax.exact.branch_and_bound import search, split_actions, split_ranges
from seqrl_jax.exact.graph import DecisionGraph, policy_values, state_graph
from seqrl_jax.exact.interval import EXACT_GAP, Interval
from seqrl_jax.tasks.tabular import TabularPOMDP

ENUMERATION_LIMIT = 1_000_000
CHUNK = 4096


def memoryless_deterministic(
    task: TabularPOMDP, graph: DecisionGraph, limit: int = ENUMERATION_LIMIT
) -> tuple[Interval, np.ndarray]:
    """The best stationary map o -> a, and the map as [O, A] one-hot rows.

    Up to `limit` maps of the observations that can be shown: enumeration. Beyond: branch and bound on the graph.
    """
    labels = np.unique(graph.label)
    count, values_of = task.num_actions ** len(labels), partial(policy_values, state_graph(task))
    if count <= limit:
        value, policy = _enumerate(task, labels, values_of)
        return Interval(value, value, f"exact: enumeration of {count} maps"), policy
    start = _one_hot(task, np.zeros((1, task.num_observations), int))[0]
    upper, policy, finished = search(graph, values_of, split_actions, start, second_order=False)
    lower = float(values_of(policy))
    finished = finished and upper - lower <= EXACT_GAP
    method = "exact: branch and bound" if finished else "lower: best map met; upper: branch and bound, stopped early"
    return Interval(lower, max(lower, upper), method), policy


def memoryless_stochastic(
    task: TabularPOMDP, graph: DecisionGraph, deterministic: np.ndarray, history_upper: float
) -> tuple[Interval, np.ndarray]:
    """The best stationary pi(a given o): gradient ascent from below, branch and bound from above.

    Args: deterministic: [O, A], a policy to start from. history_upper: a bound that the upper end never exceeds.
    Returns: the interval and the kept policy [O, A].
    """
    nodes = state_graph(task)
    values_of, policy = partial(policy_values, nodes), ascend(task, deterministic)
    lower = float(values_of(policy))
    below = f"gradient ascent from {starts_within_budget(nodes, 1)} starts"
    if history_upper - lower <= EXACT_GAP:
        return Interval(lower, max(lower, history_upper), f"lower: {below}; upper: the history value"), policy
    upper, met, _ = search(graph, values_of, split_ranges, policy, second_order=True)
    if float(values_of(met)) > lower:
        policy, below = met, "best policy met in branch and bound"
        lower = float(values_of(policy))
    above = "branch and bound" if upper < history_upper else "the history value"
    return Interval(lower, max(lower, min(upper, history_upper)), f"lower: {below}; upper: {above}"), policy


def _enumerate(
    task: TabularPOMDP, labels: np.ndarray, values_of: Callable[[np.ndarray], np.ndarray]
) -> tuple[float, np.ndarray]:
    best, kept = -np.inf, np.zeros(task.num_observations, int)
    maps = product(range(task.num_actions), repeat=len(labels))
    total = task.num_actions ** len(labels)
    for begin in range(0, total, CHUNK):
        some = np.array([actions for actions, _ in zip(maps, range(min(CHUNK, total - begin)))])
        full = np.zeros((len(some), task.num_observations), int)
        full[:, labels] = some
        values = values_of(_one_hot(task, full))
        if values.max() > best:
            best, kept = float(values.max()), full[values.argmax()]
    return best, _one_hot(task, kept[None])[0]


def _one_hot(task: TabularPOMDP, actions: np.ndarray) -> np.ndarray:
    """[N, O] int -> [N, O, A]."""
    return np.eye(task.num_actions)[actions]
