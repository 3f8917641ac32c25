"""What an utterance pays and leads to, as a chain of what has to be known for the law of all that is paid.

That is the belief where replies tell what was paid, as they do in every game that ships. A reward of which no reply
tells may tell of the user's state, and so of rewards to come: there it is the belief and the state.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy import sparse

from seqrl_jax.dialogue.exact import Known
from seqrl_jax.tasks.tables import with_data

NEAR = 1e-9
"""Mean squares of rewards that differ by less, as a share of the largest, are equal."""


class Steps(NamedTuple):
    """P nodes of a chain. node: [P], the belief of each. weight: [P], how likely it is there.

    By utterance: onward: [P, P], how likely each follows, where the dialogue goes on. paid: the same times the mean of
    the reward. reward, square: [P], its mean and its mean square, endings included.
    """

    node: np.ndarray
    weight: np.ndarray
    onward: list[sparse.csr_matrix]
    paid: list[sparse.csr_matrix]
    reward: np.ndarray
    square: np.ndarray


def steps_of(known: Known) -> Steps:
    """Of a game."""
    paid = _paid(known, 1)
    return _of_beliefs(known, paid) if _told(known, paid) else _of_pairs(known)


def replies_tell_rewards(known: Known) -> bool:
    """Whether who knows the belief, the utterance and the reply knows what was paid, wherever the dialogue goes on."""
    return _told(known, _paid(known, 1))


def _told(known: Known, paid: np.ndarray) -> bool:
    square, chance = _paid(known, 2), known.beliefs.graph.transition.data
    return bool(np.all(square - paid**2 / chance <= NEAR * np.max(square, initial=0.0)))


def _paid(known: Known, power: int) -> np.ndarray:
    """[E]: of the graph's edges in order, how likely the reply is times the mean of such a power of the reward."""
    graph, belief, kernel = known.beliefs.graph, known.beliefs.belief, known.game.task.kernel
    edges = graph.transition.tocoo()
    node, action = np.divmod(edges.row, kernel.num_actions)
    reply, data = graph.label[edges.col], np.zeros(edges.nnz)
    for a in range(kernel.num_actions):
        mine, move = np.flatnonzero(action == a), kernel.moves[a]
        if len(mine):
            # [S, O]: sum over s' of T r^power Z.
            paid = (with_data(move, move.data * kernel.pays[a].data ** power) @ kernel.shows[a]).toarray()
            data[mine] = np.einsum("ns,sn->n", belief[node[mine]], paid[:, reply[mine]])
    return data


def _of_beliefs(known: Known, paid: np.ndarray) -> Steps:
    """Args: paid: `_paid(known, 1)`."""
    graph, kernel = known.beliefs.graph, known.game.task.kernel
    rows = [slice(a, None, kernel.num_actions) for a in range(kernel.num_actions)]
    by_reward = sparse.csr_matrix((paid, graph.transition.indices, graph.transition.indptr), graph.transition.shape)
    return Steps(
        node=np.arange(graph.num_nodes),
        weight=np.ones(graph.num_nodes),
        onward=[graph.transition[mine] for mine in rows],
        paid=[by_reward[mine] for mine in rows],
        reward=graph.reward.T,
        square=kernel.square @ known.beliefs.belief.T,
    )


def _of_pairs(known: Known) -> Steps:
    beliefs, kernel = known.beliefs, known.game.task.kernel
    node, state = np.nonzero(beliefs.belief)
    laws = [_follows(known, node, state, action) for action in range(kernel.num_actions)]
    onward, paid = zip(*laws, strict=True)
    return Steps(
        node, beliefs.belief[node, state], [*onward], [*paid], kernel.reward[:, state], kernel.square[:, state]
    )


def _follows(
    known: Known, node: np.ndarray, state: np.ndarray, action: int
) -> tuple[sparse.csr_matrix, sparse.csr_matrix]:
    """`onward` and `paid` of an utterance, for pairs of a belief and a state, in order. What only rounding could reach
    is none of them, and left out."""
    graph, kernel = known.beliefs.graph, known.game.task.kernel
    mine = slice(*np.searchsorted(kernel.outcomes.action, [action, action + 1]))
    _, before, after, reply, probability, pay = (part[mine] for part in kernel.outcomes)
    # All that may happen in a state stands together.
    begin, end = (np.searchsorted(before, state, side) for side in ("left", "right"))
    ends = np.cumsum(end - begin)
    which = np.arange(ends[-1]) + np.repeat(end - ends, end - begin)
    met = graph.transition[action :: kernel.num_actions].tocoo()
    next_node = np.full((graph.num_nodes, kernel.num_observations), -1)
    next_node[met.row, graph.label[met.col]] = met.col
    wanted = next_node[np.repeat(node, end - begin), reply[which]] * kernel.num_states + after[which]
    listed = node * kernel.num_states + state
    place = np.minimum(np.searchsorted(listed, wanted), len(listed) - 1)
    chance = np.where(listed[place] == wanted, probability[which], 0.0)
    begins, shape = np.append(0, ends), (len(listed), len(listed))
    matrix = lambda data: sparse.csr_matrix((data, place, begins), shape=shape)
    return matrix(chance), matrix(chance * pay[which])
