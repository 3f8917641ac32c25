"""How much a little memory is worth: the best policies with 1, 2, 3, ... memory states, as certified intervals.

Between the best memoryless policy and the best of the whole history stand finite-state controllers. The lower end of
each rung is the exact value of an explicit policy, found by gradient ascent on that value; the upper end is that of the
history value, or what branch and bound proves on pairs of memory state and belief. The ascent begins with the best
controller of one state less, with the best of those into which the policy of the history is merged, and at random.

Source: Meuleau, Kim, Kaelbling & Cassandra (1999), gradient ascent on controllers; Poupart & Boutilier (2003).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from seqrl_jax.exact.belief import belief_graph, history_policy
from seqrl_jax.exact.budget import Meter, SearchBudget
from seqrl_jax.exact.graph import DecisionGraph, policy_values, state_graph, with_memory
from seqrl_jax.exact.interval import Interval
from seqrl_jax.exact.memoryless import stochastic_controller
from seqrl_jax.exact.merging import merged
from seqrl_jax.exact.state import start_value, state_values
from seqrl_jax.tasks.tabular import TabularPOMDP

MOST_BELIEFS = 2000
"""Where there are more, they are neither merged nor searched, and states stand for them."""
MERGED = 64
"""Controllers into which the policy of the history is merged,"""
KEPT = 4
"""and how many of them the ascent begins with."""

WORK = 5e7
"""Of the search for an upper end of each rung, see `branch_and_bound`: a second or two."""


@dataclass(frozen=True, eq=False)
class Rung:
    """memories: M. value: in units of return. policy: [M * O, M * A], see `exact.ascent`; it proves the lower end."""

    memories: int
    value: Interval
    policy: np.ndarray


def ladder(
    task: TabularPOMDP, memoryless: Rung, largest: int = 4, seed: int = 0, history_upper: float = np.inf
) -> list[Rung]:
    """The best policies found with 1 ... `largest` memory states; lower ends never fall.

    Args: memoryless: the first rung. history_upper: a bound that no upper end exceeds; that of policies that see the
        state, unless given.
    Raises: ValueError when `largest` is below 1.
    """
    if largest < 1:
        raise ValueError(f"a policy needs at least one memory state, not {largest}")
    limit = min(history_upper, start_value(task, state_values(task)[0]))
    beliefs = belief_graph(task, limit=MOST_BELIEFS)
    graph = state_graph(task) if beliefs is None else beliefs.graph
    rng = np.random.default_rng(seed)
    rungs = [memoryless]
    for memories in range(2, largest + 1):
        starts = [_with_another_state(rungs[-1], task)]
        starts += [] if beliefs is None else _merged(task, graph, memories, rng)
        meter = Meter(SearchBudget(WORK))
        rungs.append(Rung(memories, *stochastic_controller(task, graph, starts, limit, memories, meter)))
    return rungs


def _merged(task: TabularPOMDP, beliefs: DecisionGraph, memories: int, rng: np.random.Generator) -> list[np.ndarray]:
    """The best of many ways to merge the policy of the history into so many states."""
    _, actions = history_policy(beliefs)
    candidates = np.unique([merged(beliefs, actions, memories, rng) for _ in range(MERGED)], axis=0)
    nodes = with_memory(state_graph(task), memories)
    values = np.array([float(policy_values(nodes, policy)) for policy in candidates])
    return list(candidates[np.argsort(-values, kind="stable")[:KEPT]])


def _with_another_state(rung: Rung, task: TabularPOMDP) -> np.ndarray:
    """The same policy with one more memory state, which it never enters; there it would act as in the last one."""
    m, num_o, num_a = rung.memories, task.num_observations, task.num_actions
    wider = np.zeros((m + 1, num_o, m + 1, num_a))
    wider[:m, :, :m] = rung.policy.reshape(m, num_o, m, num_a)
    wider[m] = wider[m - 1]
    return wider.reshape((m + 1) * num_o, (m + 1) * num_a)
