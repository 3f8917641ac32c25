"""What each action is worth in an episode that is under way: the exact values of the belief that it has come to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np

from seqrl_jax.exact.belief import belief_graph
from seqrl_jax.exact.graph import DecisionGraph
from seqrl_jax.tasks.tabular import TabularPOMDP

MOST_BELIEFS = 50_000
MOST_VALUES = 20_000_000


@dataclass(frozen=True, eq=False)
class Advice:
    """A task whose beliefs are listed. graph: over N beliefs. value: [H + 1, N], the best that can be earned from step
    t on, in units of reward at step t."""

    graph: DecisionGraph
    value: np.ndarray

    @classmethod
    def on(cls, task: TabularPOMDP) -> Self | None:
        """None where the beliefs, or their values, are too many to be listed."""
        known = belief_graph(task, MOST_BELIEFS)
        if known is None or known.graph.num_nodes * (task.horizon + 1) > MOST_VALUES:
            return None
        value = np.zeros((task.horizon + 1, known.graph.num_nodes))
        for t in reversed(range(task.horizon)):
            value[t] = _action_values(known.graph, value[t + 1]).max(1)
        return cls(known.graph, value)

    def begin(self, obs: int) -> int:
        """The node after o_0."""
        starts = np.flatnonzero(self.graph.start)
        return int(starts[self.graph.label[starts] == obs][0])

    def after(self, node: int, action: int, obs: int) -> int:
        """The node after an action and what was observed then."""
        following = self.graph.transition[[node * self.graph.num_actions + action]].indices
        return int(following[self.graph.label[following] == obs][0])

    def action_values(self, time: int, node: int) -> np.ndarray:
        """[A]: what each action and the best policy after it earn from step `time` on."""
        return _action_values(self.graph, self.value[time + 1], node)


def _action_values(graph: DecisionGraph, ahead: np.ndarray, node: int | None = None) -> np.ndarray:
    """[N, A] of all nodes, [A] of one, from the values [N] of the step that follows."""
    if node is None:
        return graph.reward + graph.discount * (graph.transition @ ahead).reshape(graph.reward.shape)
    rows = slice(node * graph.num_actions, (node + 1) * graph.num_actions)
    return graph.reward[node] + graph.discount * (graph.transition[rows] @ ahead)
