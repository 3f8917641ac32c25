"""A finite-horizon decision problem whose nodes carry the label that the agent sees."""

from __future__ import annotations

from dataclasses import dataclass, replace
from weakref import WeakKeyDictionary

import numpy as np
from scipy import sparse

from seqrl_jax.tasks.tables import MOST_ENTRIES, refuse_too_many
from seqrl_jax.tasks.tabular import TabularPOMDP


@dataclass(frozen=True, eq=False)
class DecisionGraph:
    """N nodes, A actions. A policy that sees nodes is a relaxation of one that sees only labels.

    label: [N] int, the observation shown at the node. reward: [N, A], expected. transition: [N * A, N] sparse, row
    `n * A + a`; the mass that is missing from 1 has ended. start: [N], the law of the first node. The same
    transitions hold at every step; the value of interest is that of `horizon` steps from `start`.
    """

    label: np.ndarray
    reward: np.ndarray
    transition: sparse.csr_matrix
    start: np.ndarray
    discount: float
    horizon: int
    num_labels: int

    @property
    def num_nodes(self) -> int:
        return self.reward.shape[0]

    @property
    def num_actions(self) -> int:
        return self.reward.shape[1]

    def in_units(self, unit: float) -> DecisionGraph:
        """The same problem, paid in units of so much."""
        return replace(self, reward=self.reward / unit)


def state_graph(task: TabularPOMDP) -> DecisionGraph:
    """Nodes are the reachable pairs (state, observation shown); seeing the node is seeing the state.

    Built once for each task, and kept as long as the task is. Raises: TaskError where what can happen at all nodes is
    more than `MOST_ENTRIES` (1.6 GB).
    """
    if task not in _state_graphs:
        _state_graphs[task] = _state_graph(task)
    return _state_graphs[task]


_state_graphs: WeakKeyDictionary[TabularPOMDP, DecisionGraph] = WeakKeyDictionary()


def _state_graph(task: TabularPOMDP) -> DecisionGraph:
    kernel, num_o = task.kernel, task.num_observations
    action, state, after, observation, probability, _ = kernel.outcomes
    shape = (task.num_states * task.num_actions, task.num_states * num_o)
    pair = after * num_o + observation
    # Where a node leads depends on its state alone.
    law = sparse.csr_matrix((probability, (state * task.num_actions + action, pair)), shape=shape)
    leads = sparse.csr_matrix((np.ones(len(pair), bool), (state, pair)), shape=(task.num_states, shape[1]))
    begun = kernel.start.tocoo()
    nodes = _reachable(begun.row * num_o + begun.col, leads)
    state_of = nodes // num_o
    rows = (state_of[:, None] * task.num_actions + np.arange(task.num_actions)).ravel()
    entries = int(np.diff(law.indptr)[rows].sum())
    refuse_too_many(task.name, "the graph of its states with what each shows", entries, MOST_ENTRIES)
    steps = law[rows]
    steps.sort_indices()
    column = np.searchsorted(nodes, steps.indices)
    return DecisionGraph(
        label=nodes % num_o,
        reward=kernel.reward.T[state_of],
        transition=sparse.csr_matrix((steps.data, column, steps.indptr), shape=(len(rows), len(nodes))),
        start=kernel.start[state_of, nodes % num_o],
        discount=task.discount,
        horizon=task.horizon,
        num_labels=num_o,
    )


def with_memory(graph: DecisionGraph, memories: int) -> DecisionGraph:
    """The problem of a controller with M memory states as one without memory: nodes are pairs (m, n), labels pairs
    (m, label), actions pairs (m', a), numbered in that order; it begins in memory state 0."""
    num_n, num_a = graph.reward.shape
    steps = graph.transition.tocoo()
    node, action = np.divmod(steps.row, num_a)
    before, after = np.indices((memories, memories)).reshape(2, -1, 1)
    rows = (before * num_n + node) * (memories * num_a) + after * num_a + action
    columns, data = after * num_n + steps.col, np.broadcast_to(steps.data, rows.shape)
    transition = sparse.csr_matrix(
        (data.ravel(), (rows.ravel(), np.broadcast_to(columns, rows.shape).ravel())),
        shape=(memories**2 * num_n * num_a, memories * num_n),
    )
    return replace(
        graph,
        label=(np.arange(memories)[:, None] * graph.num_labels + graph.label).ravel(),
        reward=np.tile(graph.reward, (memories, memories)),
        transition=transition,
        start=np.concatenate([graph.start, np.zeros((memories - 1) * num_n)]),
        num_labels=memories * graph.num_labels,
    )


def policy_values(graph: DecisionGraph, policy: np.ndarray) -> np.ndarray:
    """The exact value J of stationary policies of the label.

    Args: policy: [..., L, A], rows sum to 1 (or to less: what is missing leaves); any leading axes.
    Returns: [...].
    """
    tables = np.asarray(policy, np.float64).reshape(-1, *policy.shape[-2:])
    return _by_recursion(graph, np.broadcast_to(tables, (graph.horizon, *tables.shape))).reshape(policy.shape[:-2])


def timed_policy_value(graph: DecisionGraph, policy: np.ndarray) -> float:
    """The exact value J of a policy of label and time, [H, L, A]."""
    return float(_by_recursion(graph, policy[:, None])[0])


def _by_recursion(graph: DecisionGraph, policy: np.ndarray) -> np.ndarray:
    """[B], forward over the nodes. Args: policy: [H, B, L, A]."""
    count = policy.shape[1]
    mass = np.repeat(graph.start[:, None], count, axis=1)
    total = np.zeros(count)
    for table in policy:
        joint = mass[:, None] * np.moveaxis(table, 0, -1)[graph.label]
        total += np.einsum("nab,na->b", joint, graph.reward)
        mass = graph.discount * (graph.transition.T @ joint.reshape(-1, count))
    return total


def _reachable(start: np.ndarray, leads: sparse.csr_matrix) -> np.ndarray:
    """The pairs that can be met, in order. Args: start: [K], pairs. leads: [S, S * O]."""
    num_o = leads.shape[1] // leads.shape[0]
    reached, fresh = [start], np.unique(start // num_o)
    left = np.zeros(leads.shape[0], bool)
    while len(fresh):
        left[fresh] = True
        reached.append(np.unique(leads[fresh].indices))
        states = np.unique(reached[-1] // num_o)
        fresh = states[~left[states]]
    return np.unique(np.concatenate(reached))
