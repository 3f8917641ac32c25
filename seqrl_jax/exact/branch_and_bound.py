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

And where no policy of a box is stationary, none of them is the best of all. The derivative of J by pi(a given o) is
`sum_t sum_{n of o} d_t(n) Q_t(n, a)`; at the best policy no action that is taken has a smaller one than another action.
Ranges of d and Q over the box bound the differences of the derivatives: an action that is always behind is not taken.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial, reduce
from typing import NamedTuple

import numpy as np
from scipy import sparse

from seqrl_jax.exact.budget import Meter, SearchBudget
from seqrl_jax.exact.graph import DecisionGraph

TOLERANCE = 2e-8
"""Of the largest return: a box whose bound exceeds the best known policy by no more is not split further."""
ROUNDING = 1e-12
"""Of the largest return: what a sum over all nodes and steps may be wrong by."""
BATCH_ENTRIES = 20_000
BATCH = (64, 512)
"""Boxes assessed at once: enough to make numpy's overhead small, few enough to stay close to best first."""
MEMORY = 30_000_000
"""Action values, over all nodes and steps, that are kept for the boxes assessed at once: some hundred megabytes."""
WORK = 600_000_000
"""Products that one search takes, over all its sweeps, unless it is given another budget: some seconds."""
OVERHEAD = 10_000
"""What a step of a sweep costs however small it is, in products."""
PATIENCE = 0.1
"""Of the budget: what is spent before the search has to have gained on what is known without it."""
NEAR = 1e-5
"""Of the largest return: a search whose ends are so close may take"""
LONGER = 4
"""times the work to its end; seconds that were given are never exceeded for it."""
SWEEPS = {"first": 2, "second": 3, "derivatives": 3}
"""Over all nodes and steps, that it takes to assess a box, by what is computed of it."""
LOOKED = (1000, 0.05)
"""Derivatives are looked at in so many boxes, and in more where they left out an action in such a share of them."""


@dataclass(frozen=True, eq=False)
class Boxes:
    """B boxes; low, high: [L, A, B]."""

    low: np.ndarray
    high: np.ndarray


@dataclass(frozen=True, eq=False)
class Assessed:
    """What is known of B boxes.

    bound: [B], above J of every memoryless policy in the box. policy: [L, A, B], the memoryless policy in the box
    nearest to what the nodes choose. label: [B], where to branch. unused: [L, A, B] bool, what no policy of the box
    does that is the best of all.
    """

    bound: np.ndarray
    policy: np.ndarray
    label: np.ndarray
    unused: np.ndarray


class Found(NamedTuple):
    """What a search leaves: a bound on J of every memoryless policy, the best policy met, and whether it was
    finished."""

    upper: float
    policy: np.ndarray
    finished: bool


Box = tuple[np.ndarray, np.ndarray]
"""low, high: [L, A]."""
Children = Callable[[], list[Box]]
Split = Callable[[np.ndarray, np.ndarray, np.ndarray, int], list[Box]]


def search(
    graph: DecisionGraph,
    evaluate: Callable[[np.ndarray], np.ndarray],
    split: Split,
    best: np.ndarray,
    second_order: bool,
    known: float = np.inf,
    meter: Meter | None = None,
) -> Found:
    """Best first, in batches, until every box is closed, or the budget is spent, or a share of it has gained nothing.

    Args:
        graph: paid in units of the largest return.
        evaluate: [B, L, A] policies -> [B] exact values.
        split: (low, high, policy, label) of a box -> smaller boxes that cover what of it matters.
        best: [L, A], a known policy.
        second_order: whether to compute the second bound too, and to leave out what is not stationary; for stochastic
            policies.
        known: an upper bound from elsewhere; a search that stays above it for long is given up.
        meter: of the budget that is spent here; one of `WORK` unless given.
    """
    meter = Meter(SearchBudget(WORK)) if meter is None else meter
    longest = LONGER if meter.budget.seconds is None else 1
    incumbent, closed = float(evaluate(best[None])[0]), -np.inf
    queue: list[tuple[float, int, Children]] = []
    allowed = np.where(duplicates(graph), 0.0, 1.0)
    fresh = [(np.zeros_like(allowed), allowed)]
    made, looked, useful = 0, 0, 0
    differences = action_differences(graph) if second_order else None
    entries = graph.reward.size + graph.transition.nnz
    kept = graph.reward.size * graph.horizon
    batch = min(int(np.clip(BATCH_ENTRIES // graph.reward.size, *BATCH)), max(1, MEMORY // kept))
    while fresh:
        boxes = Boxes(*(np.stack(side, axis=-1) for side in zip(*fresh)))
        derivatives = second_order and (looked < LOOKED[0] or useful > LOOKED[1] * looked)
        assessed = assess(graph, boxes, differences, derivatives)
        sweeps = SWEEPS["first"] + second_order * SWEEPS["second"] + derivatives * SWEEPS["derivatives"]
        meter.work += sweeps * graph.horizon * (entries * len(fresh) + OVERHEAD)
        looked += derivatives * len(fresh)
        useful += int(assessed.unused.any((0, 1)).sum())
        values = evaluate(np.moveaxis(assessed.policy, -1, 0))
        if values.max() > incumbent:
            incumbent, best = float(values.max()), assessed.policy[..., values.argmax()]
        for i, (low, high) in enumerate(fresh):
            bound, unused = float(assessed.bound[i]), assessed.unused[..., i]
            if bound <= incumbent + TOLERANCE:
                closed = max(closed, bound)
                continue
            children: Children = partial(split, low, high, assessed.policy[..., i], int(assessed.label[i]))
            if (unused & (high > 0)).any():
                children = partial(_without, low, high, unused)
                if not children():
                    continue
            made += 1
            heapq.heappush(queue, (-bound, made, children))
        fresh = []
        ahead = -queue[0][0] if queue else -np.inf
        allowance = PATIENCE if ahead >= known else longest if ahead < incumbent + NEAR else 1
        going = meter.spent() <= allowance
        while queue and len(fresh) < batch and going:
            negative, _, children = heapq.heappop(queue)
            smaller = children() if -negative > incumbent + TOLERANCE else []
            fresh += smaller
            if not smaller:
                closed = max(closed, -negative)
    left = max((-negative for negative, _, _ in queue), default=-np.inf)
    return Found(max(incumbent, closed, left), best, not queue)


def assess(
    graph: DecisionGraph, boxes: Boxes, differences: DecisionGraph | None, derivatives: bool = False
) -> Assessed:
    """Bounds and branching advice for B boxes; the second bound only with `action_differences(graph)`, and what is
    unused only if derivatives are looked at."""
    low, high = boxes.low[graph.label], boxes.high[graph.label]
    values, action_values, chosen = _backward(graph, lambda _, q: _fill(low, high, q))
    occupancy = _forward(graph, chosen)
    # aggregated[o, a, b]: what action a is worth at label o, over all its nodes and times.
    aggregated = _by_label(graph, sum(d[:, None] * q for d, q in zip(occupancy, action_values)))
    policy = _fill(boxes.low, boxes.high, aggregated)
    reached = _by_label(graph, sum(d * (pi * q).sum(1) for d, pi, q in zip(occupancy, chosen, action_values)))
    loss = reached - (policy * aggregated).sum(1)
    bound = graph.start @ values[0]
    unused = np.zeros(boxes.high.shape, bool)
    if differences is not None:
        around = _around_centre(graph, differences, boxes, low, high, values)
        bound = np.minimum(bound, around.bound)
        if derivatives:
            unused = _behind(graph, differences, low, high, around.gradient, values, around.least)
    # No loss does not mean that the policy attains the bound: where choices tie, it may visit nodes that the relaxed
    # one does not. So ties go to the label with the most probability left to move, and never to one with none.
    shown = np.isin(np.arange(graph.num_labels), graph.label)[:, None]
    movable = shown * np.minimum(boxes.high.sum(1) - 1, 1 - boxes.low.sum(1))
    label = np.where(movable > 1e-9, loss + 1e-9 * movable, -np.inf).argmax(0)
    return Assessed(bound, policy, label, unused)


def duplicates(graph: DecisionGraph) -> np.ndarray:
    """[L, A] bool: at every node of the label, the action pays and leads like an earlier one."""
    num_a = graph.num_actions
    same = np.zeros((graph.num_labels, num_a), bool)
    for later in range(num_a):
        for earlier in range(later):
            apart = abs(graph.transition[later::num_a] - graph.transition[earlier::num_a]).sum(1)
            differs = np.asarray(apart).ravel() + np.abs(graph.reward[:, later] - graph.reward[:, earlier])
            same[:, later] |= np.bincount(graph.label, differs, graph.num_labels) == 0
    return same


def split_actions(low: np.ndarray, high: np.ndarray, policy: np.ndarray, label: int) -> list[Box]:
    """For deterministic policies: the label's preferred action alone, or any other that is still allowed."""
    if high[label].sum() < 2:
        return []
    action = policy[label].argmax()
    only, others = high.copy(), high.copy()
    only[label], others[label, action] = 0, 0
    only[label, action] = 1
    return [(low, only), (low, others)]


def split_ranges(low: np.ndarray, high: np.ndarray, policy: np.ndarray, label: int) -> list[Box]:
    """For stochastic policies: halve the widest range of the label."""
    width = high[label] - low[label]
    action = int(width.argmax())
    if width[action] < 1e-9:
        return []
    middle = (low[label, action] + high[label, action]) / 2
    below, above = high.copy(), low.copy()
    below[label, action] = above[label, action] = middle
    return [_tightened(low, below, label), _tightened(above, high, label)]


def _without(low: np.ndarray, high: np.ndarray, unused: np.ndarray) -> list[Box]:
    """The part of the box in which nothing `unused`, [L, A], is done; none where its policies must do it."""
    high = np.where(unused, 0.0, high)
    if (low[unused] > 0).any() or (high.sum(1) < 1 - ROUNDING).any():
        return []
    for label in np.flatnonzero(unused.any(1)):
        low, high = _tightened(low, high, int(label))
    return [(low, high)]


def _tightened(low: np.ndarray, high: np.ndarray, label: int) -> Box:
    """The same policies in the smallest ranges: the others' probabilities leave an action so much and no more."""
    low, high = low.copy(), high.copy()
    for _ in range(2):
        high[label] = np.minimum(high[label], 1 - (low[label].sum() - low[label]))
        low[label] = np.maximum(low[label], 1 - (high[label].sum() - high[label]))
    return low, high


class Around(NamedTuple):
    """The second bound [B] of the module's docstring, with c in the middle of each box; the derivative of J at c,
    [L, A, B]; and values [N, B] by step that every policy of the box reaches."""

    bound: np.ndarray
    gradient: np.ndarray
    least: list[np.ndarray]


def _around_centre(
    graph: DecisionGraph,
    differences: DecisionGraph,
    boxes: Boxes,
    low: np.ndarray,
    high: np.ndarray,
    most: list[np.ndarray],
) -> Around:
    """Args: low, high: [N, A, B]. most: values [N, B] by step that no policy of the box exceeds."""
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
    return Around(graph.start @ values[0] + linear + remainder, gradient, least)


def _behind(
    graph: DecisionGraph,
    differences: DecisionGraph,
    low: np.ndarray,
    high: np.ndarray,
    gradient: np.ndarray,
    most: list[np.ndarray],
    least: list[np.ndarray],
) -> np.ndarray:
    """[L, A, B]: where the derivative of J by an action is behind that of another one, for every policy of the box.

    The other action is the one with the largest `gradient`, [L, A, B], in the middle of the box. low, high: [N, A, B].
    most, least: values [N, B] by step between which those of every policy of the box lie.
    """
    common = (graph.transition - differences.transition)[:: graph.num_actions]
    best = gradient.argmax(1)[:, None]
    rarely = often = np.repeat(graph.start[:, None], low.shape[-1], axis=1)
    lead = np.zeros(gradient.shape)

    def onward(mass: np.ndarray, policy: np.ndarray) -> np.ndarray:
        moved = differences.transition.T @ (mass[:, None] * policy).reshape(-1, mass.shape[-1])
        return graph.discount * (common.T @ mass + moved)

    for t in range(graph.horizon):
        above = graph.reward[..., None] + _ahead(differences, most[t + 1])
        below = graph.reward[..., None] + _ahead(differences, least[t + 1])
        ahead = above - np.take_along_axis(below, best[graph.label], 1)
        lead += _by_label(graph, np.where(ahead > 0, often[:, None], rarely[:, None]) * ahead)
        rarely, often = onward(rarely, low), np.minimum(onward(often, high), graph.discount ** (t + 1))
    behind = lead < -ROUNDING
    np.put_along_axis(behind, best, False, 1)
    return behind


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
    room, worth = high - low, np.broadcast_to(worth, low.shape)
    taken_before = np.zeros_like(low)
    for later in range(low.shape[1]):
        for earlier in range(later):
            in_order = worth[:, earlier] >= worth[:, later]
            taken_before[:, later] += room[:, earlier] * in_order
            taken_before[:, earlier] += room[:, later] * ~in_order
    return low + np.clip((1 - low.sum(1))[:, None] - taken_before, 0, room)
