"""How much of a return was earned, and how much was luck.

In a problem that is regularised towards a reference, beta log pi*/pi_ref(u|s) = Q*(s, u) - V*(s), so that for every
trajectory (without a discount; with one, turn t counts gamma^t)

    sum_t r_t = V*(s_0) + sum_t beta log pi*/pi_ref(u_t|s_t) + sum_t luck_t,
    luck_t = r_t + V*(s_{t+1}) - E[r_t + V*(s_{t+1}) | s_t, u_t].

Whatever infers the policy from whole returns (preferences between dialogues, returns to go as a condition, the best
dialogues of a log) takes the last sum for merit. Luck has mean 0 whatever is said. How far that goes is measured by its
share of the variance of returns where the reference speaks, with the reference's own values, the limit of high beta:
there merit and luck are uncorrelated, and share the variance between them.
"""

from __future__ import annotations

import numpy as np
from scipy import sparse

from seqrl_jax.dialogue.exact import Known, Plan
from seqrl_jax.exact.belief import BeliefGraph
from seqrl_jax.tasks.tables import with_data
from seqrl_jax.tasks.tabular import TabularPOMDP


def luck_share(known: Known) -> float:
    """The variance of a dialogue's luck over that of its return, where the logs speak: 0 with a user who leaves nothing
    to chance, 1 where nothing that is said matters.

    The opening counts as neither: both are variances given how the dialogue begins.
    """
    return_variance, luck_variance = variances(known, known.behaviour, known.logged)
    return luck_variance / return_variance if return_variance > 0 else 0.0


def variances(known: Known, policy: np.ndarray, plan: Plan) -> tuple[float, float]:
    """(of the return, of the luck against the plan's values), means over openings, when a policy [N, A] speaks."""
    steps = Steps(known.game.task, known.beliefs)
    returns, luck = np.zeros((2, known.beliefs.graph.num_nodes))
    logged = np.zeros(known.beliefs.graph.num_nodes)
    discount = known.game.task.discount
    for t in reversed(range(known.horizon)):
        # Var = E[Var | u, what followed] + Var of the mean: by the moments of reward and what follows it.
        mean, square = steps.moments(discount * logged)
        spread = discount**2 * steps.onward(returns)
        total = (policy * mean).sum(1)
        returns = (policy * (square + spread)).sum(1) - total**2
        logged = total
        mean, square = steps.moments(discount * plan.values[t + 1])
        luck = (policy * (square - mean**2 + discount**2 * steps.onward(luck))).sum(1)
    start = known.beliefs.graph.start
    return float(start @ returns), float(start @ luck)


class Steps:
    """The law of (reward, next belief) of every belief and utterance: rewards depend on the states, too."""

    def __init__(self, task: TabularPOMDP, beliefs: BeliefGraph) -> None:
        graph = beliefs.graph
        self.shape = graph.reward.shape
        self.transition: sparse.csr_matrix = graph.transition
        self.reward = graph.reward
        self.reward_square = beliefs.belief @ task.kernel.square.T
        self._paid = _reward_before(task, beliefs)

    def onward(self, value: np.ndarray) -> np.ndarray:
        """[N, A]: the mean of a value [N] of what follows."""
        following: np.ndarray = self.transition @ value
        return following.reshape(self.shape)

    def moments(self, value: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """[N, A] twice: the mean and the mean square of reward plus the value [N] of what follows."""
        both = (self._paid @ value).reshape(self.shape)
        return self.reward + self.onward(value), self.reward_square + 2 * both + self.onward(value**2)


def _reward_before(task: TabularPOMDP, beliefs: BeliefGraph) -> sparse.csr_matrix:
    """[N * A, N]: the mean of reward where it leads from (belief, utterance) to the next belief, else 0.

    The next belief is known by utterance and reply, so the reward's mean is taken over states and the states entered.
    """
    graph, num_a = beliefs.graph, task.num_actions
    coo = graph.transition.tocoo()
    node, action = coo.row // num_a, coo.row % num_a
    reply = graph.label[coo.col]
    kernel = task.kernel
    data = np.zeros(len(coo.data))
    for a in range(num_a):
        mine = np.flatnonzero(action == a)
        if len(mine):
            # [S, O]: sum over s' of T r Z.
            move = kernel.moves[a]
            paid = (with_data(move, move.data * kernel.pays[a].data) @ kernel.shows[a]).toarray()
            data[mine] = np.einsum("ns,sn->n", beliefs.belief[node[mine]], paid[:, reply[mine]])
    return sparse.csr_matrix((data, (coo.row, coo.col)), shape=graph.transition.shape)
