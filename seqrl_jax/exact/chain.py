"""What happens under any policy of the observation, as a chain of pairs of the state and what is known of the past.

An estimate of a gradient depends on states (they earn), on observations (they act) and on what its baseline sees. A
node holds all three, so that every expectation of the agent's estimates is a recursion over nodes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from seqrl_jax.exact.belief import belief_graph
from seqrl_jax.tasks.tabular import TabularPOMDP

NOWHERE = -1


@dataclass(frozen=True, eq=False)
class Chain:
    """N nodes, alive ones only; what ends has left the chain.

    Attributes:
        label: [N] int, the observation shown. state: [N] int, the hidden state. history: [N] int, what is known of the
            past: the observation itself, or the number of a belief.
        start: [N], the law of the first node.
        transition: [N * A, N] sparse, row `n * A + a`; mass that is missing from 1 has ended.
        paid: the same entries times the reward of that transition. paid_squared: times its square.
        reward, square: [N, A], expectation of the reward and of its square, endings included.
        discount, horizon: of the task.
    """

    label: np.ndarray
    state: np.ndarray
    history: np.ndarray
    start: np.ndarray
    transition: sparse.csr_matrix
    paid: sparse.csr_matrix
    paid_squared: sparse.csr_matrix
    reward: np.ndarray
    square: np.ndarray
    discount: float
    horizon: int

    @property
    def num_nodes(self) -> int:
        return len(self.label)

    @property
    def num_actions(self) -> int:
        return self.reward.shape[1]

    def ahead(self, values: np.ndarray) -> np.ndarray:
        """[N, A, ...]: the expectation of values [N, ...] at the next node; what has ended counts 0."""
        return self._expected(self.transition, values)

    def paid_ahead(self, values: np.ndarray) -> np.ndarray:
        """[N, A, ...]: the expectation of reward times values [N, ...] at the next node."""
        return self._expected(self.paid, values)

    def paid_squared_ahead(self, values: np.ndarray) -> np.ndarray:
        """[N, A, ...]: the expectation of the squared reward times values [N, ...] at the next node."""
        return self._expected(self.paid_squared, values)

    def _expected(self, matrix: sparse.csr_matrix, values: np.ndarray) -> np.ndarray:
        flat = matrix @ values.reshape(self.num_nodes, -1)
        return flat.reshape(self.num_nodes, self.num_actions, *values.shape[1:])


def state_chain(task: TabularPOMDP) -> Chain:
    """Nodes are the reachable pairs (state, observation)."""
    observations = np.arange(task.num_observations)
    successor = np.broadcast_to(observations, (task.num_observations, task.num_actions, task.num_observations))
    return _chain(task, observations, observations, successor)


def belief_chain(task: TabularPOMDP, limit: int) -> tuple[Chain, np.ndarray] | None:
    """Nodes are the reachable pairs (state, belief), and the beliefs [M, S]; None where there are more than `limit`."""
    known = belief_graph(task, limit)
    if known is None:
        return None
    graph, num_a = known.graph, task.num_actions
    steps = graph.transition.tocoo()
    successor = np.zeros((graph.num_nodes, num_a, task.num_observations), int)
    successor[steps.row // num_a, steps.row % num_a, graph.label[steps.col]] = steps.col
    first = np.zeros(task.num_observations, int)
    starts = np.flatnonzero(graph.start)
    first[graph.label[starts]] = starts
    return _chain(task, graph.label, first, successor), known.belief


def history_chain(task: TabularPOMDP, own_actions: bool, limit: int) -> Chain | None:
    """Nodes are the pairs (state, history) that can occur, as a tree; None where there are more than `limit` histories.

    Args: own_actions: whether a history is o_0, a_0, ... o_t, or o_0, ... o_t alone.
    """
    outcomes, begins = task.kernel.outcomes, _begins(task)
    possible: list[set[int]] = [set() for _ in range(task.num_observations)]
    for s, o in zip(*task.kernel.start.nonzero(), strict=True):
        possible[o].add(int(s))
    label, layer = list(range(task.num_observations)), list(range(task.num_observations))
    successor: dict[tuple[int, int, int], int] = {}
    for _ in range(task.horizon - 1):
        following = []
        for history in layer:
            children: dict[tuple[int, int], int] = {}
            for s in possible[history]:
                for a in range(task.num_actions):
                    for k in range(begins[a, s], begins[a, s + 1]):
                        o = outcomes.observation[k]
                        key = (a if own_actions else 0, int(o))
                        child = children.setdefault(key, len(label))
                        if child == len(label):
                            label.append(int(o))
                            possible.append(set())
                            following.append(child)
                        possible[child].add(int(outcomes.after[k]))
                        successor[history, a, int(o)] = child
            if len(label) > limit:
                return None
        layer = following
    table = np.full((len(label), task.num_actions, task.num_observations), NOWHERE)
    for place, child in successor.items():
        table[place] = child
    return _chain(task, np.array(label), np.arange(task.num_observations), table)


def occupancy(chain: Chain, policy: np.ndarray) -> np.ndarray:
    """[H, N]: the probability that an episode is alive in a node at step t, under a policy [O, A]."""
    by_node = policy[chain.label]
    here, rows = chain.start, []
    for _ in range(chain.horizon):
        rows.append(here)
        here = (here[:, None] * by_node).ravel() @ chain.transition
    return np.array(rows)


def _chain(task: TabularPOMDP, label: np.ndarray, first: np.ndarray, successor: np.ndarray) -> Chain:
    """Args: label: [M], the observation that `history` ends with. first: [O], that after o_0. successor: [M, A, O], or
    NOWHERE behind the horizon, where nothing is followed."""
    kernel, begins = task.kernel, _begins(task)
    outcomes, joint = kernel.outcomes, kernel.start.tocoo()
    pairs = [(s, first[o]) for s, o in zip(joint.row, joint.col, strict=True)]
    start = joint.data.tolist()
    number = {pair: n for n, pair in enumerate(pairs)}
    rows, columns, which = [], [], []
    for n, (s, history) in enumerate(pairs):
        for a in range(task.num_actions):
            for k in range(begins[a, s], begins[a, s + 1]):
                pair = (outcomes.after[k], successor[history, a, outcomes.observation[k]])
                if pair[1] == NOWHERE:
                    continue
                if pair not in number:
                    number[pair] = len(pairs)
                    pairs.append(pair)
                rows.append(n * task.num_actions + a)
                columns.append(number[pair])
                which.append(k)
    state, history = (np.array(part, int) for part in zip(*pairs, strict=True))
    shape = (len(pairs) * task.num_actions, len(pairs))
    entries, paid = outcomes.probability[which], outcomes.pay[which]
    matrix = lambda values: sparse.csr_matrix((values, (rows, columns)), shape=shape)
    return Chain(
        label=label[history],
        state=state,
        history=history,
        start=np.array(start + [0.0] * (len(pairs) - len(start))),
        transition=matrix(entries),
        paid=matrix(entries * paid),
        paid_squared=matrix(entries * paid**2),
        reward=kernel.reward.T[state],
        square=kernel.square.T[state],
        discount=task.discount,
        horizon=task.horizon,
    )


def _begins(task: TabularPOMDP) -> np.ndarray:
    """[A, S + 1]: where the outcomes of each action and state begin, and behind the last state where they end."""
    action, state = task.kernel.outcomes[:2]
    pair = action * task.num_states + state
    each = np.searchsorted(pair, np.arange(task.num_actions * task.num_states)).reshape(task.num_actions, -1)
    ends = np.append(each[1:, 0], len(pair))
    return np.column_stack([each, ends])
