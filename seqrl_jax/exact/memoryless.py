"""The best policies that see only the current observation: stationary, deterministic or stochastic.

All is computed in units of the largest return, so that a task paid in cents is solved as one paid in dollars.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import islice, product

import numpy as np

from seqrl_jax.exact.ascent import ascend, effort
from seqrl_jax.exact.branch_and_bound import WORK, search, split_actions, split_ranges
from seqrl_jax.exact.budget import Meter, SearchBudget
from seqrl_jax.exact.graph import DecisionGraph, policy_values, state_graph, with_memory
from seqrl_jax.exact.interval import EXACT_SHARE, Interval
from seqrl_jax.exact.state import largest_return
from seqrl_jax.tasks.tabular import TabularPOMDP

ENUMERATION_LIMIT = 1_000_000
CHUNK = 4096
CHUNK_ENTRIES = 30_000_000
"""Maps that are evaluated at once: so many, and so many numbers."""
TIE = 1e-12
"""Of the largest return: maps whose values differ by less are equally good, and the first of them is kept."""
CLOSED = 1e-9
"""Of the largest return: a policy that comes so close to an upper end is not improved."""
CLIMBING = 0.5
"""Of the seconds of a budget, what the ascent may take before branch and bound begins."""


def memoryless_deterministic(
    task: TabularPOMDP, graph: DecisionGraph, limit: int = ENUMERATION_LIMIT, meter: Meter | None = None
) -> tuple[Interval, np.ndarray]:
    """The best stationary map o -> a, and the map as [O, A] one-hot rows.

    Up to `limit` maps of the observations that can be shown: enumeration. Beyond: branch and bound on the graph. Where
    the seconds of the budget end before the enumeration, the upper end is infinite: others are known.
    """
    meter = Meter(SearchBudget(WORK)) if meter is None else meter
    labels, unit = np.unique(graph.label), largest_return(task)
    count, values_of = task.num_actions ** len(labels), partial(policy_values, state_graph(task).in_units(unit))
    if count <= limit:
        policy, seen = _enumerate(task, labels, values_of, meter)
        value = _value(task, policy)
        if seen < count:
            method = f"lower: best of {seen} of {count} maps; upper: that of stochastic policies"
            return Interval(value, np.inf, method, unit), policy
        return Interval(value, value, f"exact: enumeration of {count} maps", unit), policy
    start = _one_hot(task, np.zeros((1, task.num_observations), int))[0]
    found = search(graph.in_units(unit), values_of, split_actions, start, second_order=False, meter=meter)
    lower = _value(task, found.policy)
    interval = Interval(lower, max(lower, unit * found.upper), "exact: branch and bound", unit)
    if not interval.is_exact:
        method = "lower: best map met; upper: branch and bound, stopped early"
        interval = Interval(interval.lower, interval.upper, method, unit)
    return interval, found.policy


def memoryless_stochastic(
    task: TabularPOMDP,
    graph: DecisionGraph,
    deterministic: np.ndarray,
    history_upper: float,
    meter: Meter | None = None,
) -> tuple[Interval, np.ndarray]:
    """The best stationary pi(a given o): gradient ascent from below, branch and bound from above.

    Args: deterministic: [O, A], a policy to start from. history_upper: a bound that the upper end never exceeds.
    Returns: the interval and the kept policy [O, A].
    """
    return stochastic_controller(task, graph, [deterministic], history_upper, memories=1, meter=meter)


def stochastic_controller(
    task: TabularPOMDP,
    graph: DecisionGraph,
    starts: Sequence[np.ndarray],
    history_upper: float,
    memories: int,
    meter: Meter | None = None,
) -> tuple[Interval, np.ndarray]:
    """The best policy with M memory states, and the policy [M * O, M * A], see `exact.ascent`.

    Args: graph: of states or beliefs. starts: at least one policy to start from. meter: its work is that of branch and
    bound, its seconds are those of all.
    """
    meter = Meter(SearchBudget(WORK)) if meter is None else meter
    nodes, unit = with_memory(state_graph(task), memories), largest_return(task)
    values_of, in_units = partial(policy_values, nodes), partial(policy_values, nodes.in_units(unit))
    first = int(np.argmax([float(values_of(policy)) for policy in starts]))
    policy, below, above = starts[first], "best policy to start from", "the history value"
    lower, upper = float(values_of(policy)), history_upper
    if upper - lower > CLOSED * unit:
        others, late = [*starts[:first], *starts[first + 1 :]], partial(meter.late, CLIMBING)
        policy = ascend(task, policy, memories=memories, others=others, late=late)
        lower, below = float(values_of(policy)), f"gradient ascent from {effort(task, memories).starts} starts"
    if upper - lower > EXACT_SHARE * unit:
        boxed = with_memory(graph, memories).in_units(unit)
        known = history_upper / unit
        found = search(boxed, in_units, split_ranges, policy, second_order=True, known=known, meter=meter)
        if (value := float(values_of(found.policy))) > lower:
            policy, lower, below = found.policy, value, "best policy met in branch and bound"
        if unit * found.upper < upper:
            upper, above = unit * found.upper, "branch and bound"
    return Interval(lower, max(lower, upper), f"lower: {below}; upper: {above}", unit), policy


def _value(task: TabularPOMDP, policy: np.ndarray) -> float:
    """In units of the task."""
    return float(policy_values(state_graph(task), policy))


def _enumerate(
    task: TabularPOMDP, labels: np.ndarray, values_of: Callable[[np.ndarray], np.ndarray], meter: Meter
) -> tuple[np.ndarray, int]:
    """The first of the best maps, [O, A], and how many were seen before it was late."""
    best, kept = -np.inf, np.zeros(task.num_observations, int)
    maps = product(range(task.num_actions), repeat=len(labels))
    chunk = int(np.clip(CHUNK_ENTRIES // state_graph(task).reward.size, 1, CHUNK))
    seen = 0
    while some := list(islice(maps, chunk)):
        seen += len(some)
        full = np.zeros((len(some), task.num_observations), int)
        full[:, labels] = some
        values = values_of(_one_hot(task, full))
        if values.max() > best + TIE:
            best, kept = float(values.max()), full[(values >= values.max() - TIE).argmax()]
        if meter.late():
            break
    return _one_hot(task, kept[None])[0], seen


def _one_hot(task: TabularPOMDP, actions: np.ndarray) -> np.ndarray:
    """[N, O] int -> [N, O, A]."""
    return np.eye(task.num_actions)[actions]
