"""A finite-horizon decision problem whose nodes carry the label that the agent sees."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse

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


def state_graph(task: TabularPOMDP) -> DecisionGraph:
    """Nodes are the reachable pairs (state, observation shown); seeing the node is seeing the state."""
    num_a, num_s, num_o = task.observation.shape
    alive = ~task.terminal
    # law[a, s, s', o'] = P(s', o' | s, a), without what ends.
    law = np.einsum("ast,ato->asto", task.transition * alive, task.observation)
    start = (task.initial[:, None] * task.initial_observation).ravel()
    step = np.broadcast_to(law.reshape(num_a, num_s, 1, num_s * num_o), (num_a, num_s, num_o, num_s * num_o)).reshape(
        num_a, num_s * num_o, num_s * num_o
    )
    reached = _closure(start > 0, step.max(0) > 0)
    nodes = np.flatnonzero(reached)
    transition = step[:, nodes][:, :, nodes].swapaxes(0, 1).reshape(len(nodes) * num_a, len(nodes))
    expected = np.einsum("ast,ast->as", task.transition, task.reward)
    return DecisionGraph(
        label=nodes % num_o,
        reward=expected.T[nodes // num_o],
        transition=sparse.csr_matrix(transition),
        start=start[nodes],
        discount=task.discount,
        horizon=task.horizon,
        num_labels=num_o,
    )


def _closure(reached: np.ndarray, leads: np.ndarray) -> np.ndarray:
    while True:
        wider = reached | leads[reached].any(0)
        if (wider == reached).all():
            return reached
        reached = wider
