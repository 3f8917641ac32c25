"""Upper ends for memoryless policies: branch and bound over boxes of policies.

A box allows each label o and action a a range `low[o, a] <= pi(a given o) <= high[o, a]`. Two bounds hold for every
memoryless policy in a box:

1. Relaxation: let each node, at each time, choose its own distribution within its label's ranges (one backward
   induction). Where all nodes that are met choose alike for each label, a memoryless policy attains the bound.
2. Second order around a policy c in the box. With discounted occupancies d_t of c, the performance difference lemma
   (Kakade & Langford, 2002) reads `J(pi) - J(c) = sum_t E_{d_t}[sum_a (pi - c)(a) Q_t^pi(n, a)]`. Writing
   `Q^pi = Q^c + (Q^pi - Q^c)`, the first part is linear in pi and is maximised over the box; in the second,
   `V^pi - V^c` lies between the relaxed minimum and the relaxed maximum minus V^c, so that it is of second order in the
   box's width. As pi - c sums to 0, neither the part of a transition that all actions share nor an action without room
   in the box enters.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial, reduce
from typing import Any

import numpy as np
from scipy import sparse

from seqrl_jax.exact.graph import DecisionGraph

# A box whose bound exceeds the best known policy by no more than this is not split further.
TOLERANCE = 2e-7
# Boxes assessed at once: enough to make numpy's overhead small, few enough to stay close to best first.
BATCH_ENTRIES = 20_000
BATCH = (64, 512)
# Array entries that one search may compute, over all its sweeps: a deterministic budget of a few seconds.
WORK = 600_000_000


@dataclass(frozen=True, eq=False)
class Boxes:
    """B boxes; low, high: [L, A, B]."""

    low: np.ndarray
    high: np.ndarray


@dataclass(frozen=True, eq=False)
class Assessed:
    """What is known of B boxes.

    bound: [B], above J of every memoryless policy in the box. policy: [L, A, B], the memoryless policy in the box
    nearest to what the nodes choose. label: [B], where to branch.
    """

    bound: np.ndarray
    policy: np.ndarray
    label: np.ndarray


Split = Callable[[np.ndarray, np.ndarray, np.ndarray, int], list[tuple[np.ndarray, np.ndarray]]]


def search(
    graph: DecisionGraph,
    evaluate: Callable[[np.ndarray], np.ndarray],
    split: Split,
    best: np.ndarray,
    second_order: bool,
) -> tuple[float, np.ndarray, bool]:
    """Best first, in batches, until every box is closed or the work is spent.

    Args:
        evaluate: [B, L, A] policies -> [B] exact values.
        split: (low, high, policy, label) of a box -> smaller boxes that cover what of it matters.
        best: [L, A], a known policy.
        second_order: whether to compute the second bound too.
    Returns: an upper bound on J of every memoryless policy, the best policy met, and whether the search was finished.
    """
    shape = (graph.num_labels, graph.num_actions)
    incumbent, closed = float(evaluate(best[None])[0]), -np.inf
    queue: list[tuple[float, int, Any]] = []
    fresh = [(np.zeros(shape), np.ones(shape))]
    made, work = 0, 0
    differences = action_differences(graph) if second_order else None
    sweeps = 5 if second_order else 2
    batch = int(np.clip(BATCH_ENTRIES // graph.reward.size, *BATCH))
    while fresh:
        assessed = assess(graph, Boxes(*(np.stack(side, axis=-1) for side in zip(*fresh))), differences)
        work += sweeps * graph.reward.size * graph.horizon * len(fresh)
        values = evaluate(np.moveaxis(assessed.policy, -1, 0))
        if values.max() > incumbent:
            incumbent, best = float(values.max()), assessed.policy[..., values.argmax()]
        for i, (low, high) in enumerate(fresh):
            bound = float(assessed.bound[i])
            if bound <= incumbent + TOLERANCE:
                closed = max(closed, bound)
                continue
            made += 1
            parts = partial(split, low, high, assessed.policy[..., i], int(assessed.label[i]))
            heapq.heappush(queue, (-bound, made, parts))
        fresh = []
        while queue and len(fresh) < batch and work <= WORK:
            negative, _, parts = heapq.heappop(queue)
            smaller = parts() if -negative > incumbent + TOLERANCE else []
            fresh += smaller
            if not smaller:
                closed = max(closed, -negative)
    left = max((-negative for negative, _, _ in queue), default=-np.inf)
    return max(incumbent, closed, left), best, not queue


def assess(graph: DecisionGraph, boxes: Boxes, differences: DecisionGraph | None) -> Assessed:
    """Bounds and branching advice for B boxes; the second bound only with `action_differences(graph)`."""
    low, high = boxes.low[graph.label], boxes.high[graph.label]
    values, action_values, chosen = _backward(graph, lambda _, q: _fill(low, high, q))
    occupancy = _forward(graph, chosen)
    # aggregated[o, a, b]: what action a is worth at label o, over all its nodes and times.
    aggregated = _by_label(graph, sum(d[:, None] * q for d, q in zip(occupancy, action_values)))
    policy = _fill(boxes.low, boxes.high, aggregated)
    reached = _by_label(graph, sum(d * (pi * q).sum(1) for d, pi, q in zip(occupancy, chosen, action_values)))
    loss = reached - (policy * aggregated).sum(1)
    bound = graph.start @ values[0]
    if differences is not None:
        bound = np.minimum(bound, _second_order_bound(graph, differences, boxes, low, high, values))
    # No loss does not mean that the policy attains the bound: where choices tie, it may visit nodes that the relaxed
    # one does not. So ties go to the label with the most probability left to move, and never to one with none.
    shown = np.isin(np.arange(graph.num_labels), graph.label)[:, None]
    movable = shown * np.minimum(boxes.high.sum(1) - 1, 1 - boxes.low.sum(1))
    label = np.where(movable > 1e-9, loss + 1e-9 * movable, -np.inf).argmax(0)
    return Assessed(bound, policy, label)


def split_actions(
    low: np.ndarray, high: np.ndarray, policy: np.ndarray, label: int
) -> list[tuple[np.ndarray, np.ndarray]]:
    """For deterministic policies: the label's preferred action alone, or any other that is still allowed."""
    if high[label].sum() < 2:
        return []
    action = policy[label].argmax()
    only, others = high.copy(), high.copy()
    only[label], others[label, action] = 0, 0
    only[label, action] = 1
    return [(low, only), (low, others)]


def split_ranges(
    low: np.ndarray, high: np.ndarray, policy: np.ndarray, label: int
) -> list[tuple[np.ndarray, np.ndarray]]:
    """For stochastic policies: halve the widest range of the label."""
    width = high[label] - low[label]
    action = int(width.argmax())
    if width[action] < 1e-9:
        return []
    middle = (low[label, action] + high[label, action]) / 2
    below, above = high.copy(), low.copy()
    below[label, action] = above[label, action] = middle
    return [_tightened(low, below, label), _tightened(above, high, label)]


def _tightened(low: np.ndarray, high: np.ndarray, label: int) -> tuple[np.ndarray, np.ndarray]:
    """The same policies in the smallest ranges: the others' probabilities leave an action so much and no more."""
    low, high = low.copy(), high.copy()
    for _ in range(2):
        high[label] = np.minimum(high[label], 1 - (low[label].sum() - low[label]))
        low[label] = np.maximum(low[label], 1 - (high[label].sum() - high[label]))
    return low, high


def _second_order_bound(
    graph: DecisionGraph,
    differences: DecisionGraph,
    boxes: Boxes,
    low: np.ndarray,
    high: np.ndarray,
    most: list[np.ndarray],
) -> np.ndarray:
    """[B]: the second bound of the module's docstring, with c in the middle of each box."""
    room = boxes.high - boxes.low
    share = (1 - boxes.low.sum(1)) / np.maximum(room.sum(1), 1e-300)
    centre = boxes.low + room * share[:, None]
    at_nodes = centre[graph.label]
    values, action_values, chosen = _backward(graph, lambda _, q: at_nodes)
    least = _backward(graph, lambda _, q: _fill(low, high, -q))[0]
    occupancy = _forward(graph, chosen)

    gradient = _by_label(graph, sum(d[:, None] * q for d, q in zip(occupancy, action_values)))
    linear = ((_fill(boxes.low, boxes.high, gradient) - centre) * gradient).sum((0, 1))
    # Half the largest L1 distance from c within the box: what moves from some actions to others.
    moved = np.minimum((boxes.high - centre).sum(1), (centre - boxes.low).sum(1))[graph.label]
    free = (room > 0)[graph.label]
    remainder = np.zeros(moved.shape[-1])
    for t in range(graph.horizon - 1):
        above = np.where(free, _ahead(differences, most[t + 1] - values[t + 1]), -np.inf).max(1)
        below = np.where(free, _ahead(differences, least[t + 1] - values[t + 1]), np.inf).min(1)
        remainder += (occupancy[t] * moved * np.maximum(above - below, 0)).sum(0)
    return graph.start @ values[0] + linear + remainder


def _backward(
    graph: DecisionGraph, choose: Callable[[int, np.ndarray], np.ndarray]
) -> tuple[list[np.ndarray], list[np.ndarray], list[np.ndarray]]:
    """Backward induction for B policies of nodes. choose: (t, Q [N, A, B]) -> [N, A, B].

    Returns by time step: values [N, B] (one more, of zeros, at the end), action values and choices [N, A, B].
    """
    values: list[np.ndarray] = []
    action_values: list[np.ndarray] = []
    choices: list[np.ndarray] = []
    for t in reversed(range(graph.horizon)):
        q = graph.reward[..., None] + (_ahead(graph, values[-1]) if values else 0.0)
        pi = choose(t, q)
        if not values:
            values.append(np.zeros((graph.num_nodes, pi.shape[-1])))
            q = np.broadcast_to(q, pi.shape)
        values.append((pi * q).sum(1))
        action_values.append(q)
        choices.append(pi)
    return values[::-1], action_values[::-1], choices[::-1]


def _forward(graph: DecisionGraph, choices: list[np.ndarray]) -> list[np.ndarray]:
    """Discounted occupancies [N, B] at every step, of the policies that `_backward` chose."""
    mass = np.repeat(graph.start[:, None], choices[0].shape[-1], axis=1)
    masses = []
    for pi in choices:
        masses.append(mass)
        joint = (mass[:, None] * pi).reshape(-1, mass.shape[-1])
        mass = graph.discount * (graph.transition.T @ joint)
    return masses


def _ahead(graph: DecisionGraph, value: np.ndarray) -> np.ndarray:
    """gamma P V: [N, B] -> [N, A, B]."""
    return graph.discount * (graph.transition @ value).reshape(graph.num_nodes, graph.num_actions, -1)


def action_differences(graph: DecisionGraph) -> DecisionGraph:
    """The graph without the part of each transition that is the same for every action of the node."""
    num_a = graph.num_actions
    common = reduce(lambda p, q: p.minimum(q), (graph.transition[a::num_a] for a in range(num_a)))
    rest = graph.transition - sparse.kron(common, np.ones((num_a, 1)))
    return replace(graph, transition=sparse.csr_matrix(rest))


def _by_label(graph: DecisionGraph, at_nodes: np.ndarray) -> np.ndarray:
    """Sum over the nodes of each label: [N, ...] -> [L, ...]."""
    summed = np.zeros((graph.num_labels, *at_nodes.shape[1:]))
    np.add.at(summed, graph.label, at_nodes)
    return summed


def _fill(low: np.ndarray, high: np.ndarray, worth: np.ndarray) -> np.ndarray:
    """The distributions within the ranges that maximise `sum_a pi_a worth_a` (axis 1): the best actions fill first."""
    worth = np.broadcast_to(worth, low.shape)
    order = np.argsort(-worth, axis=1, kind="stable")
    room = np.take_along_axis(high - low, order, 1)
    taken_before = room.cumsum(1) - room
    given = np.clip((1 - low.sum(1))[:, None] - taken_before, 0, room)
    filled = np.empty_like(low)
    np.put_along_axis(filled, order, given, 1)
    return low + filled
