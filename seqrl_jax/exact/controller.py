"""Finite-state controllers: policies with a memory of a few nodes, kept as proofs of lower ends."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from seqrl_jax.exact.graph import DecisionGraph
from seqrl_jax.tasks.tabular import TabularPOMDP


@dataclass(frozen=True, eq=False)
class Controller:
    """A deterministic policy with N memory nodes.

    start: [O], the node after o_0. action: [N]. successor: [N, O], the node after the next observation. All int32;
    where an observation cannot follow, any node stands.
    """

    start: np.ndarray
    action: np.ndarray
    successor: np.ndarray


def controller_from_map(actions: np.ndarray) -> Controller:
    """The memoryless policy o -> actions[o], [O] int: the node is the last observation."""
    nodes = np.arange(len(actions), dtype=np.int32)
    return Controller(nodes, np.asarray(actions, np.int32), np.tile(nodes, (len(nodes), 1)))


def controller_from_graph(graph: DecisionGraph, actions: np.ndarray) -> Controller:
    """A policy of (step, node) as a controller: one memory node for each pair that it reaches.

    Args: actions: [H, N], as `history_policy` returns. An observation must tell the successor of a node and action,
    as in a belief graph.
    """
    num_a = graph.num_actions
    layer = np.flatnonzero(graph.start)
    start = np.zeros(graph.num_labels, np.int32)
    start[graph.label[layer]] = np.arange(len(layer))
    chosen, successors, count = [], [], 0
    for t in range(graph.horizon):
        action = actions[t, layer]
        step = graph.transition[layer * num_a + action].tocoo()
        after = np.unique(step.col)
        successor = np.zeros((len(layer), graph.num_labels), np.int32)
        if t + 1 < graph.horizon:
            place = count + len(layer) + np.searchsorted(after, step.col)
            successor[step.row, graph.label[step.col]] = place
        chosen.append(action)
        successors.append(successor)
        count += len(layer)
        layer = after
    return Controller(start, np.concatenate(chosen).astype(np.int32), np.concatenate(successors))


def trimmed(controller: Controller) -> Controller:
    """The same policy without the nodes that no observations lead to."""
    reached = np.zeros(len(controller.action), bool)
    layer = np.unique(controller.start)
    while len(layer):
        reached[layer] = True
        after = np.unique(controller.successor[layer])
        layer = after[~reached[after]]
    number = (reached.cumsum() - 1).astype(np.int32)
    successor = number[controller.successor[reached]]
    return Controller(number[controller.start], controller.action[reached], successor)


def evaluate_controller(task: TabularPOMDP, controller: Controller) -> float:
    """The exact value J of a controller, by forward recursion over pairs (state, node)."""
    kernel = task.kernel
    shown, joint = kernel.first
    nodes, mass = _merge(controller.start[shown], joint)
    total, weight = 0.0, 1.0
    for _ in range(task.horizon):
        action = controller.action[nodes]
        total += weight * float(np.einsum("ns,ns->", mass, kernel.reward[action]))
        targets, arriving = [], []
        for a in np.unique(action):
            mine = action == a
            entered, shows = mass[mine] @ kernel.moves[a], kernel.shows[a].tocsc()
            for o in np.flatnonzero(np.diff(shows.indptr)):
                part = entered * shows[:, [o]].toarray().ravel()
                some = part.any(1)
                targets.append(controller.successor[nodes[mine][some], o])
                arriving.append(part[some])
        if not targets:
            break
        nodes, mass = _merge(np.concatenate(targets), np.concatenate(arriving))
        weight *= task.discount
    return total


def _merge(nodes: np.ndarray, mass: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distinct nodes and the sum of the rows of each."""
    distinct, inverse = np.unique(nodes, return_inverse=True)
    summed = np.zeros((len(distinct), mass.shape[1]))
    np.add.at(summed, inverse, mass)
    return distinct, summed


def evaluate_infinite_controller(task: TabularPOMDP, controller: Controller, error: float) -> tuple[float, float]:
    """What a controller earns over an infinite horizon, discounted: ends of an interval no wider than `error`.

    By forward recursion over pairs (node, state) until what can still be earned by what has not ended is so little.
    """
    kernel, discount = task.kernel, task.discount
    num_n, num_s = len(controller.action), task.num_states
    chosen = [(controller.action == a).astype(float) for a in range(kernel.num_actions)]
    moves = sum(sparse.kron(sparse.diags_array(mine), move) for mine, move in zip(chosen, kernel.moves, strict=True))
    shows = sum(sparse.kron(mine[:, None], show) for mine, show in zip(chosen, kernel.shows, strict=True)).tocsr()
    # From (node, state entered), with the observation of it, to (next node, state entered).
    entries = np.diff(shows.indptr)
    node, entered = (np.repeat(each, entries) for each in np.divmod(np.arange(num_n * num_s), num_s))
    after = controller.successor[node, shows.indices] * num_s + entered
    onward = sparse.csr_array((shows.data, after, shows.indptr), shape=(num_n * num_s, num_n * num_s))
    back, forth = sparse.csr_array(moves.T), sparse.csr_array(onward.T)
    begun = np.zeros((num_n, num_s))
    shown, joint = kernel.first
    np.add.at(begun, controller.start[shown], joint)
    mass, reward = begun.ravel(), kernel.reward[controller.action].ravel()
    # What has ended earns nothing, which may be more or less than what goes on.
    least, most = (float(end) / (1 - discount) for end in (min(0.0, reward.min()), max(0.0, reward.max())))
    total = 0.0
    while True:
        total += float(mass @ reward)
        mass = discount * (forth @ (back @ mass))
        left = float(mass.sum())
        if left * (most - least) <= error:
            return total + left * least, total + left * most
