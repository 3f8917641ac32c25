"""The optimum of a policy that sees the whole history: dynamic programming over the beliefs that can be reached."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from seqrl_jax.exact.graph import DecisionGraph
from seqrl_jax.exact.state import expected_reward
from seqrl_jax.tasks.tabular import TabularPOMDP

# Beliefs that agree to this many digits are one node; branches less likely than IMPOSSIBLE are rounding, not events.
DIGITS = 10
IMPOSSIBLE = 1e-13
CHUNK_ENTRIES = 4_000_000


@dataclass(frozen=True, eq=False)
class BeliefGraph:
    """Pairs (belief, observation last shown) that can be reached within the horizon.

    belief: [N, S]. graph: the decision problem over these nodes (labels: the observation). The dynamics do not depend
    on time, so a node stands for all times at which it is reached.
    """

    belief: np.ndarray
    graph: DecisionGraph


def belief_graph(task: TabularPOMDP, limit: int = 300_000) -> BeliefGraph | None:
    """Every reachable belief, breadth first; None when there are more than `limit`.

    The successor of b under a, o is b'(s') proportional to `sum_s b(s) T(s'|s,a) Z(o|a,s')` over the states s' that
    have not ended: Kaelbling, Littman & Cassandra (1998), section 3.3.
    """
    num_a, num_s, num_o = task.observation.shape
    alive = task.transition * ~task.terminal
    # branch[s, (a, o, s')] = P(s', o, not ended | s, a).
    branch = np.einsum("ast,ato->saot", alive, task.observation).reshape(num_s, -1)
    joint = (task.initial[:, None] * task.initial_observation).T
    start_o = np.flatnonzero(joint.sum(1) > IMPOSSIBLE)
    start_p = joint[start_o].sum(1)

    known: dict[bytes, int] = {}
    beliefs: list[np.ndarray] = []
    labels: list[np.ndarray] = []
    edges: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []

    def number(belief: np.ndarray, label: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Node numbers of these rows, and the beliefs and labels of the rows that are new."""
        rounded = np.round(belief, DIGITS) + 0.0
        keys = np.ascontiguousarray(np.column_stack([rounded, label])).view(f"V{8 * (num_s + 1)}").ravel()
        distinct, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
        fresh = [i for i, key in zip(first, distinct) if key.tobytes() not in known]
        for i in fresh:
            known[keys[i].tobytes()] = len(known)
        numbers = np.array([known[key.tobytes()] for key in distinct])
        return numbers[inverse], belief[fresh], label[fresh]

    start_nodes, frontier, shown = number(joint[start_o] / start_p[:, None], start_o)
    if len(known) > limit:
        return None
    first_number = 0
    chunk = max(1, CHUNK_ENTRIES // branch.shape[1])
    for _ in range(task.horizon - 1):
        beliefs.append(frontier)
        labels.append(shown)
        next_frontier, next_shown = [], []
        for begin in range(0, len(frontier), chunk):
            entered = (frontier[begin : begin + chunk] @ branch).reshape(-1, num_s)
            mass = entered.sum(1)
            rows = np.flatnonzero(mass > IMPOSSIBLE)
            numbers, fresh, fresh_shown = number(entered[rows] / mass[rows, None], rows % num_o)
            next_frontier.append(fresh)
            next_shown.append(fresh_shown)
            edges.append((rows // num_o + (first_number + begin) * num_a, numbers, mass[rows]))
            if len(known) > limit:
                return None
        first_number += len(frontier)
        frontier, shown = np.concatenate(next_frontier), np.concatenate(next_shown)
        if not len(frontier):
            break
    belief, label = np.concatenate([*beliefs, frontier]), np.concatenate([*labels, shown])

    count = len(known)
    rows, columns, mass = (np.concatenate(part) for part in zip(*edges)) if edges else (np.zeros(0, int),) * 3
    start = np.zeros(count)
    np.add.at(start, start_nodes, start_p)
    graph = DecisionGraph(
        label=label,
        reward=belief @ expected_reward(task).T,
        transition=sparse.csr_matrix((mass, (rows, columns)), shape=(count * num_a, count)),
        start=start,
        discount=task.discount,
        horizon=task.horizon,
        num_labels=num_o,
    )
    return BeliefGraph(belief, graph)


def history_policy(graph: DecisionGraph) -> tuple[float, np.ndarray]:
    """Backward induction over a decision graph, each node choosing for itself.

    A node first reached at step d has successors only if d < horizon - 1, and is used with at most horizon - d steps to
    go; what the recursion says of it with more is never read.

    Returns: the value at the start, and the greedy actions [H, N], row t those at step t.
    """
    value = np.zeros(graph.num_nodes)
    actions = np.zeros((graph.horizon, graph.num_nodes), np.int16)
    for t in reversed(range(graph.horizon)):
        action_values = graph.reward + graph.discount * (graph.transition @ value).reshape(graph.reward.shape)
        actions[t] = action_values.argmax(1)
        value = action_values.max(1)
    return float(graph.start @ value), actions
