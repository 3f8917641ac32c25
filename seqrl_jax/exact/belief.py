"""The optimum of a policy that sees the whole history: dynamic programming over the beliefs that can be reached."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy import sparse

from seqrl_jax.exact.budget import DEFAULT, Meter
from seqrl_jax.exact.graph import DecisionGraph
from seqrl_jax.exact.rows import Rows
from seqrl_jax.tasks.tabular import TabularPOMDP

# Beliefs that agree to this many digits are one node; branches less likely than IMPOSSIBLE are rounding, not events.
DIGITS = 12
IMPOSSIBLE = 1e-13
CHUNK_ENTRIES = 4_000_000


@dataclass(frozen=True, eq=False)
class BeliefGraph:
    """Pairs (belief, observation last shown) that can be reached within the horizon.

    belief: [N, S]. graph: the decision problem over these nodes (labels: the observation). The dynamics do not depend
    on time, so a node stands for all times at which it is reached. error: how far values of this problem may be from
    those of the task, as a share of the largest return: equal beliefs are recognised by their first digits, and what is
    rounding is left out.
    """

    belief: np.ndarray
    graph: DecisionGraph
    error: float


def belief_graph(
    task: TabularPOMDP, limit: int = 300_000, meter: Meter | None = None, share: float = 1.0
) -> BeliefGraph | None:
    """Every reachable belief, breadth first; None when there are more than `limit`.

    The successor of b under a, o is b'(s') proportional to `sum_s b(s) T(s'|s,a) Z(o|a,s')` over the states s' that
    have not ended: Kaelbling, Littman & Cassandra (1998), section 3.3.

    Args: meter: None is also what is returned when so large a `share` of its seconds, or its memory, is used up.
    """
    meter = Meter(DEFAULT) if meter is None else meter
    num_a, num_s, num_o = task.observation.shape
    branch, arrival = _branches(task)
    nodes = _Nodes(num_s)
    joint = sparse.csr_matrix(task.kernel.start.T)
    layer = _distinct(joint, np.arange(num_o), np.zeros(num_o, int), num_s)
    start_nodes, start_p = nodes.number(layer), layer.mass
    edges: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    edge_bytes, done = 0, 0

    def too_many() -> bool:
        # Beliefs are handed on as a dense array.
        used = edge_bytes + nodes.bytes + 8 * len(nodes) * num_s
        return len(nodes) > limit or used > meter.budget.memory or meter.late(share)

    for _ in range(task.horizon - 1):
        begin_layer, end_layer = done, len(nodes)
        if begin_layer == end_layer or too_many():
            break
        per_row = nodes.beliefs(begin_layer, end_layer).nnz / (end_layer - begin_layer) * branch.nnz / num_s
        chunk = max(1, int(CHUNK_ENTRIES / max(per_row, 1)))
        for begin in range(begin_layer, end_layer, chunk):
            frontier = nodes.beliefs(begin, min(begin + chunk, end_layer))
            entered, row = _rows_of(frontier @ branch, arrival, num_a * num_o, num_s)
            met = _distinct(entered, row % num_o, row // num_o, num_s)
            edges.append((met.origin + begin * num_a, nodes.number(met), met.mass))
            edge_bytes += sum(part.nbytes for part in edges[-1])
            if too_many():
                return None
        done = end_layer
    if too_many():
        return None
    belief = nodes.beliefs(0, len(nodes)).toarray()
    rows, columns, mass = (np.concatenate(part) for part in zip(*edges)) if edges else (np.zeros(0, int),) * 3
    start = np.zeros(len(nodes))
    np.add.at(start, start_nodes, start_p)
    graph = DecisionGraph(
        label=nodes.label,
        reward=belief @ task.kernel.reward.T,
        transition=sparse.csr_matrix((mass, (rows, columns)), shape=(len(nodes) * num_a, len(nodes))),
        start=start,
        discount=task.discount,
        horizon=task.horizon,
        num_labels=num_o,
    )
    return BeliefGraph(belief, graph, task.horizon * nodes.error)


class _Nodes:
    """Beliefs with the observation last shown, numbered as they are met.

    error: the most that a step may have changed a belief, in all its entries together.
    """

    def __init__(self, num_s: int) -> None:
        self._num_s, self.error = num_s, 0.0
        self._known: dict[bytes, int] = {}
        self._data, self._state, self._ends = Rows(np.zeros(0)), Rows(np.zeros(0, np.int32)), Rows(np.zeros(1, int))
        self._label = Rows(np.zeros(0, int))

    def __len__(self) -> int:
        return len(self._known)

    @property
    def label(self) -> np.ndarray:
        return self._label.all

    @property
    def bytes(self) -> int:
        return self._data.all.nbytes + self._state.all.nbytes

    def beliefs(self, begin: int, end: int) -> sparse.csr_matrix:
        """[end - begin, S]"""
        ends = self._ends.all[begin : end + 1]
        mine = slice(ends[0], ends[-1])
        parts = (self._data.all[mine], self._state.all[mine], ends - ends[0])
        return sparse.csr_matrix(parts, shape=(end - begin, self._num_s))

    def number(self, met: _Met) -> np.ndarray:
        """The numbers [R] of the rows that were met, [R]; what is new is numbered."""
        before = len(self)
        fresh = [i for i, key in enumerate(met.keys) if key not in self._known]
        for i in fresh:
            self._known[met.keys[i]] = len(self._known)
        numbers = np.array([self._known[key] for key in met.keys], int)
        new = met.belief[fresh]
        self._data.add(new.data)
        self._state.add(new.indices)
        self._ends.add(self._ends.all[-1] + new.indptr[1:])
        self._label.add(met.label[fresh])
        old = np.flatnonzero(numbers < before)
        moved = _furthest(met.belief[old], self.beliefs(0, before)[numbers[old]])
        self.error = max(self.error, met.error + moved)
        return numbers[met.which]


class _Met(NamedTuple):
    """Beliefs that were met, each once: keys [D], belief [D, S], label [D]; and of the rows that are possible: `which`
    of these [R], their mass [R], and where they came from [R]. error: what this has changed of them, at most: the
    belief of a row, or the mass of what came from one origin."""

    keys: list[bytes]
    belief: sparse.csr_matrix
    label: np.ndarray
    which: np.ndarray
    mass: np.ndarray
    origin: np.ndarray
    error: float


def _branches(task: TabularPOMDP) -> tuple[sparse.csr_matrix, np.ndarray]:
    """P(s', o, not ended | s, a), [S, K], and which (a, o, s') its columns are, in order: `(a * O + o) * S + s'`."""
    num_s, num_o = task.num_states, task.num_observations
    action, state, after, observation, probability, _ = task.kernel.outcomes
    arrival, column = np.unique((action * num_o + observation) * num_s + after, return_inverse=True)
    return sparse.csr_matrix((probability, (state, column)), shape=(num_s, len(arrival))), arrival


def _rows_of(
    entered: sparse.csr_matrix, arrival: np.ndarray, width: int, num_s: int
) -> tuple[sparse.csr_matrix, np.ndarray]:
    """What stands in [N, K] as rows [N * width, S], those that hold anything, and the number of each.

    Args: arrival: [K], the place in [width * S] of each column, in order.
    """
    entered.sort_indices()
    which, state = np.divmod(arrival[entered.indices], num_s)
    row = np.repeat(np.arange(entered.shape[0]) * width, np.diff(entered.indptr)) + which
    begins = np.flatnonzero(np.diff(row, prepend=-1))
    parts = entered.data, state, np.append(begins, len(row))
    return sparse.csr_matrix(parts, shape=(len(begins), num_s)), row[begins]


def _distinct(entered: sparse.csr_matrix, label: np.ndarray, origin: np.ndarray, num_s: int) -> _Met:
    """The rows [R, S] with any mass as beliefs, equal ones (to DIGITS, with the same label) once."""
    entered.sort_indices()
    mass = np.asarray(entered.sum(1)).ravel()
    rows = np.flatnonzero(mass > IMPOSSIBLE)
    dropped = np.bincount(origin, np.where(mass > IMPOSSIBLE, 0, mass)).max(initial=0)
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
    error = float(dropped) + _furthest(belief, belief[first][which])
    return _Met(named, belief[first], label[first], which, mass, origin, error)


def _furthest(left: sparse.csr_matrix, right: sparse.csr_matrix) -> float:
    """By how much two rows [N, S] differ, in all their entries together, at most."""
    return float(np.asarray(abs(left - right).sum(1)).max(initial=0))


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
