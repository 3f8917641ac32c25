"""The optimum of a policy that sees the whole history: dynamic programming over the beliefs that can be reached."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy import sparse

from seqrl_jax.exact.graph import DecisionGraph
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
    branch = _branches(task)
    joint = sparse.csr_matrix(task.kernel.start.T)
    layer = _distinct(joint, np.arange(num_o), np.zeros(num_o, int), num_s)

    known: dict[bytes, int] = {}
    beliefs: list[sparse.csr_matrix] = []
    labels: list[np.ndarray] = []
    edges: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []

    def number(met: _Met) -> tuple[np.ndarray, sparse.csr_matrix, np.ndarray]:
        """Node numbers of the beliefs, and those that are new with their labels."""
        fresh = [i for i, key in enumerate(met.keys) if key not in known]
        for i in fresh:
            known[met.keys[i]] = len(known)
        return np.array([known[key] for key in met.keys], int)[met.which], met.belief[fresh], met.label[fresh]

    start_nodes, frontier, shown = number(layer)
    start_p = layer.mass
    if len(known) > limit:
        return None
    first_number = 0
    for _ in range(task.horizon - 1):
        beliefs.append(frontier)
        labels.append(shown)
        next_frontier, next_shown = [], []
        per_row = frontier.nnz / frontier.shape[0] * branch.nnz / num_s
        chunk = max(1, int(CHUNK_ENTRIES / max(per_row, 1)))
        for begin in range(0, frontier.shape[0], chunk):
            entered = (frontier[begin : begin + chunk] @ branch).reshape(-1, num_s).tocsr()
            rows = np.arange(entered.shape[0])
            met = _distinct(entered, rows % num_o, rows // num_o, num_s)
            numbers, fresh, fresh_shown = number(met)
            next_frontier.append(fresh)
            next_shown.append(fresh_shown)
            edges.append((met.origin + (first_number + begin) * num_a, numbers, met.mass))
            if len(known) > limit:
                return None
        first_number += frontier.shape[0]
        frontier, shown = sparse.vstack(next_frontier, format="csr"), np.concatenate(next_shown)
        if not frontier.shape[0]:
            break
    belief = sparse.vstack([*beliefs, frontier], format="csr").toarray()
    label = np.concatenate([*labels, shown])

    count = len(known)
    rows, columns, mass = (np.concatenate(part) for part in zip(*edges)) if edges else (np.zeros(0, int),) * 3
    start = np.zeros(count)
    np.add.at(start, start_nodes, start_p)
    graph = DecisionGraph(
        label=label,
        reward=belief @ task.kernel.reward.T,
        transition=sparse.csr_matrix((mass, (rows, columns)), shape=(count * num_a, count)),
        start=start,
        discount=task.discount,
        horizon=task.horizon,
        num_labels=num_o,
    )
    return BeliefGraph(belief, graph)


class _Met(NamedTuple):
    """Beliefs that were met, each once: keys [D], belief [D, S], label [D]; and of the rows that are possible: `which`
    of these [R], their mass [R], and where they came from [R]."""

    keys: list[bytes]
    belief: sparse.csr_matrix
    label: np.ndarray
    which: np.ndarray
    mass: np.ndarray
    origin: np.ndarray


def _branches(task: TabularPOMDP) -> sparse.csr_matrix:
    """[S, A * O * S]: P(s', o, not ended | s, a) at (s, (a, o, s'))."""
    num_a, num_s, num_o = task.observation.shape
    action, state, after, observation, probability, _ = task.kernel.outcomes
    column = (action * num_o + observation) * num_s + after
    return sparse.csr_matrix((probability, (state, column)), shape=(num_s, num_a * num_o * num_s))


def _distinct(entered: sparse.csr_matrix, label: np.ndarray, origin: np.ndarray, num_s: int) -> _Met:
    """The rows [R, S] with any mass as beliefs, equal ones (to DIGITS, with the same label) once."""
    entered.sort_indices()
    mass = np.asarray(entered.sum(1)).ravel()
    rows = np.flatnonzero(mass > IMPOSSIBLE)
    mass, label, origin = mass[rows], label[rows], origin[rows]
    belief = sparse.diags(1 / mass) @ entered[rows]
    # A key is two sums of 64 bits over the rounded entries, each with random multipliers: two different beliefs share
    # one with a probability of about 2^-128.
    digits = np.round(belief.data * 10.0**DIGITS).astype(np.uint64)
    odd = np.random.default_rng(0).integers(0, 2**63, (2, num_s + 1), dtype=np.uint64) * np.uint64(2) + np.uint64(1)
    filled = np.diff(belief.indptr) > 0
    keys = np.zeros((len(rows), 2), np.uint64)
    for half in range(2):
        terms = digits * odd[half, belief.indices]
        keys[filled, half] = np.add.reduceat(terms, belief.indptr[:-1][filled]) if len(terms) else 0
        keys[:, half] += (label.astype(np.uint64) + np.uint64(1)) * odd[half, num_s]
    distinct, first, which = np.unique(keys.view("V16").ravel(), return_index=True, return_inverse=True)
    named = [key.tobytes() for key in distinct]
    return _Met(named, belief[first], label[first], which, mass, origin)


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
