"""What is known of a game exactly: by dynamic programming over the beliefs that a dialogue can leave.

A belief and the turn are all that a dialogue so far is worth, and all that its speakers go by. So every value here is a
recursion over pairs (turn, belief), each of which stands for all dialogues that lead to it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from seqrl_jax.dialogue.game import Game, behaviour
from seqrl_jax.exact.belief import BeliefGraph, belief_graph
from seqrl_jax.exact.graph import DecisionGraph


class TooLarge(ValueError):
    """A game with more beliefs than can be listed."""


@dataclass(frozen=True, eq=False)
class Plan:
    """A policy over the turns H of a dialogue and N beliefs, with its values.

    values: [H + 1, N], from turn t on, in units of return (less what its divergence costs, where it does); the last row
    is 0. policy: [H, N, A].
    """

    values: np.ndarray
    policy: np.ndarray


@dataclass(frozen=True, eq=False)
class Known:
    """A game with its beliefs, and the policies that are computed from them. Raises: TooLarge for more than `limit`
    beliefs, or histories of a turn."""

    game: Game
    limit: int = 300_000

    @cached_property
    def beliefs(self) -> BeliefGraph:
        graph = belief_graph(self.game.task, self.limit)
        if graph is None:
            raise TooLarge(f"{self.game.task.name}: too many beliefs to list")
        return graph

    @cached_property
    def behaviour(self) -> np.ndarray:
        """[N, A]: who spoke in the logs."""
        return behaviour(self.game, self.beliefs.belief)

    @cached_property
    def logged(self) -> Plan:
        """The policy of the logs."""
        return evaluated(self.beliefs.graph, np.broadcast_to(self.behaviour, (self.horizon, *self.behaviour.shape)))

    @cached_property
    def best(self) -> Plan:
        """The optimum, with equal chances among equals."""
        return improved(self.beliefs.graph)

    def regularised(self, beta: float) -> Plan:
        """The optimum of E[return] - beta KL(pi || logs), summed over turns, each discounted as its reward is. Source:
        Levine (2018), sec. 3."""
        return softly_improved(self.beliefs.graph, self.behaviour, beta)

    def supported(self, seen: np.ndarray) -> Plan:
        """The best policy that says what the logs show where they show anything, and speaks as they do elsewhere.

        Args: seen: [H, N, A] bool, what was said at which turn and belief.
        """
        return improved(self.beliefs.graph, seen, self.behaviour)

    def value(self, plan: Plan) -> float:
        """Of a dialogue that begins."""
        return float(self.beliefs.graph.start @ plan.values[0])

    @property
    def horizon(self) -> int:
        return self.game.task.horizon


def seen_in(known: Known, utterance: np.ndarray, reply: np.ndarray, length: np.ndarray) -> np.ndarray:
    """[H, N, A] bool: what was said at which turn and belief of a log (see `logs.Log`)."""
    graph, num_a = known.beliefs.graph, known.game.task.num_actions
    seen = np.zeros((known.horizon, *graph.reward.shape), bool)
    opened = {graph.label[node]: node for node in np.flatnonzero(graph.start)}
    node = np.array([opened[first] for first in reply[:, 0]])
    for t in range(known.horizon):
        on = np.flatnonzero(length > t)
        seen[t, node[on], utterance[on, t]] = True
        on = np.flatnonzero(length > t + 1)
        # A reply tells the successor of a belief and an utterance.
        row = node[on] * num_a + utterance[on, t]
        begin, end = graph.transition.indptr[row], graph.transition.indptr[row + 1]
        for place in range(int((end - begin).max(initial=0))):
            at = np.minimum(begin + place, len(graph.transition.indices) - 1)
            after = graph.transition.indices[at]
            right = (begin + place < end) & (graph.label[after] == reply[on, t + 1])
            node[on[right]] = after[right]
    return seen


def action_values(graph: DecisionGraph, onward: np.ndarray) -> np.ndarray:
    """[N, A]: the reward of each utterance and the discounted value [N] of what follows."""
    return graph.reward + graph.discount * (graph.transition @ onward).reshape(graph.reward.shape)


def evaluated(graph: DecisionGraph, policy: np.ndarray) -> Plan:
    """A policy [H, N, A] with its values."""
    values = np.zeros((graph.horizon + 1, graph.num_nodes))
    for t in reversed(range(graph.horizon)):
        values[t] = (policy[t] * action_values(graph, values[t + 1])).sum(1)
    return Plan(values, policy)


def improved(graph: DecisionGraph, allowed: np.ndarray | None = None, otherwise: np.ndarray | None = None) -> Plan:
    """The best policy, or the best among the `allowed` [H, N, A] utterances, and `otherwise` [N, A] where there are
    none."""
    values = np.zeros((graph.horizon + 1, graph.num_nodes))
    policy = np.zeros((graph.horizon, *graph.reward.shape))
    for t in reversed(range(graph.horizon)):
        q = action_values(graph, values[t + 1])
        may = np.ones(q.shape, bool) if allowed is None else allowed[t]
        top = np.where(may, q, -np.inf).max(1, keepdims=True)
        ties = may & (q >= top - 1e-9)
        policy[t] = ties / np.maximum(ties.sum(1, keepdims=True), 1)
        if otherwise is not None:
            policy[t] = np.where(may.any(1, keepdims=True), policy[t], otherwise)
        values[t] = (policy[t] * q).sum(1)
    return Plan(values, policy)


def softly_improved(graph: DecisionGraph, reference: np.ndarray, beta: float) -> Plan:
    """The best of E[sum_t gamma^t (r_t - beta KL_t(pi || reference))], reference [N, A]; its values are those of this
    objective.

    V = beta log sum_u reference(u) exp(Q(u) / beta), pi(u) = reference(u) exp((Q(u) - V) / beta).
    """
    values = np.zeros((graph.horizon + 1, graph.num_nodes))
    policy = np.zeros((graph.horizon, *graph.reward.shape))
    with np.errstate(divide="ignore"):
        log_reference = np.log(reference)
    for t in reversed(range(graph.horizon)):
        q = action_values(graph, values[t + 1])
        scores = log_reference + q / beta
        top = scores.max(1, keepdims=True)
        total = top + np.log(np.exp(scores - top).sum(1, keepdims=True))
        values[t] = beta * total[:, 0]
        policy[t] = np.exp(scores - total)
    return Plan(values, policy)


def divergence(graph: DecisionGraph, policy: np.ndarray, reference: np.ndarray) -> float:
    """KL(pi || reference) of whole dialogues in nats, for a policy [H, N, A] and a reference [N, A]; infinite where the
    policy says what the reference cannot."""
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(policy > 0, np.log(policy) - np.log(reference), 0.0)
    onward = np.zeros(graph.num_nodes)
    for t in reversed(range(graph.horizon)):
        after = (graph.transition @ onward).reshape(graph.reward.shape)
        onward = np.where(policy[t] > 0, policy[t] * (ratio[t] + after), 0.0).sum(1)
    reached = graph.start > 0
    return float(graph.start[reached] @ onward[reached])


def turns(graph: DecisionGraph, policy: np.ndarray) -> float:
    """The mean number of turns that a policy [H, N, A] takes."""
    onward = np.zeros(graph.num_nodes)
    for t in reversed(range(graph.horizon)):
        onward = (policy[t] * (1 + (graph.transition @ onward).reshape(graph.reward.shape))).sum(1)
    return float(graph.start @ onward)
