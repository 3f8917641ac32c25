"""Controllers with a few memory states, after a policy of the whole history: beliefs that need the same are merged."""

from __future__ import annotations

import numpy as np

from seqrl_jax.exact.graph import DecisionGraph

LOYALTY = 0.9
"""How often a memory state is kept where it may be."""


def merged(graph: DecisionGraph, actions: np.ndarray, memories: int, rng: np.random.Generator) -> np.ndarray:
    """One of many controllers that act as the policy does wherever what they remember allows it.

    The policy is followed from the start, step by step. The first time that a memory state meets a label, it takes the
    policy's action there and a memory state in which no label that may follow is bound to another action than the
    policy's; the present one if it is such, else any. Whatever comes later to the same memory state and label does the
    same, right or wrong: so some of these controllers are good, and many are not.

    Args: graph: of beliefs. actions: [H, N], as `belief.history_policy` returns.
    Returns: [M * O, M * A], see `exact.ascent`; rows that are not met are uniform.
    """
    table: dict[tuple[int, int], tuple[int, int]] = {}
    here = [(0, int(node)) for node in np.flatnonzero(graph.start)]
    for t in range(graph.horizon):
        following: dict[tuple[int, int], None] = {}
        for memory, node in here:
            place = (memory, int(graph.label[node]))
            if place not in table:
                action = int(actions[t, node])
                table[place] = (memory, action)
                if t + 1 < graph.horizon:
                    after = _after(graph, node, action)
                    wanted = list(zip(graph.label[after], actions[t + 1, after]))
                    fit = [m for m in range(memories) if all(table.get((m, o), (m, a))[1] == a for o, a in wanted)]
                    stays = memory in fit and rng.random() < LOYALTY
                    table[place] = (memory if stays else int(rng.choice(fit or range(memories))), action)
            entered, action = table[place]
            following.update(((entered, int(n)), None) for n in _after(graph, node, action))
        here = list(following)
    num_a = graph.num_actions
    policy = np.full((memories, graph.num_labels, memories, num_a), 1 / (memories * num_a))
    for (memory, label), (entered, action) in table.items():
        policy[memory, label] = 0
        policy[memory, label, entered, action] = 1
    return policy.reshape(memories * graph.num_labels, memories * num_a)


def _after(graph: DecisionGraph, node: int, action: int) -> np.ndarray:
    """The nodes that may follow."""
    row = node * graph.num_actions + action
    return graph.transition.indices[graph.transition.indptr[row] : graph.transition.indptr[row + 1]]
