"""The dynamics of a task as lists of what can happen: P(s', o', the episode goes on | s, a), and what it pays.

Whatever is solved or audited reads a task through these lists, so that its memory grows with the number of outcomes
that can occur, and not with the square of the number of states.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from scipy import sparse

from seqrl_jax.tasks.tables import Lists, refuse_too_many, row_numbers

MOST_OUTCOMES = 2**25
"""In one list, of six numbers each: 1.6 GB."""


class Outcomes(NamedTuple):
    """K outcomes that do not end the episode, all arrays [K]; ordered by action, then by state.

    probability: P(s', o' | s, a). pay: R(s, a, s').
    """

    action: np.ndarray
    state: np.ndarray
    after: np.ndarray
    observation: np.ndarray
    probability: np.ndarray
    pay: np.ndarray


@dataclass(frozen=True, eq=False)
class Kernel:
    """S states, A actions, O observations.

    name: of the task. moves: by action [S, S], P(s', the episode goes on | s, a). pays: by action [S, S], R(s, a, s')
    at the same entries. shows: by action [S, O], the law of what is observed on entering a state. reward, square:
    [A, S], expectation of the reward and of its square, endings included. start: [S, O], P(s_0, o_0), as a list.
    """

    name: str
    moves: tuple[sparse.csr_array, ...]
    pays: tuple[sparse.csr_array, ...]
    shows: tuple[sparse.csr_array, ...]
    reward: np.ndarray
    square: np.ndarray
    start: sparse.csr_array

    @property
    def num_states(self) -> int:
        return self.start.shape[0]

    @property
    def num_observations(self) -> int:
        return self.start.shape[1]

    @property
    def num_actions(self) -> int:
        return len(self.moves)

    def ahead(self, values: np.ndarray) -> np.ndarray:
        """[A, S, ...]: the expectation of values [S, ...] of the next state; what has ended counts 0."""
        flat = values.reshape(self.num_states, -1)
        return np.stack([move @ flat for move in self.moves]).reshape(self.num_actions, *values.shape)

    def ahead_informed(self, values: np.ndarray) -> np.ndarray:
        """[A, S]: the expectation of the best of action values [A, S] for who sees the state one step late: `sum_o
        max_a' sum_s' P(s', o | s, a) values[a', s']`."""
        pair, law = self.arrivals
        best = (law @ values.T).max(1)
        return np.bincount(pair, best, values.size).reshape(values.shape)

    def onward(self, joint: np.ndarray) -> np.ndarray:
        """[S, O]: the mass of the next (s', o'), from that of (action, state), [A, S]."""
        parts = zip(joint, self.moves, self.shows, strict=True)
        return sum(sparse.diags_array(mass @ move) @ show for mass, move, show in parts).toarray()

    @cached_property
    def first(self) -> tuple[np.ndarray, np.ndarray]:
        """What can be seen first: these observations [K], in order, and P(s_0, o_0) of each, [K, S]."""
        by_observation = sparse.csr_array(self.start.T)
        shown = np.flatnonzero(np.diff(by_observation.indptr))
        return shown, by_observation[shown].toarray()

    @cached_property
    def arrivals(self) -> tuple[np.ndarray, sparse.csr_array]:
        """By action, state and observation, in order, what can be seen next: the action and state as `a * S + s`, [G],
        and P(s', o', the episode goes on | s, a), [G, S']."""
        action, state, after, observation, probability, _ = self.outcomes
        pair = action * self.num_states + state
        order = np.lexsort((observation, pair))
        seen = pair[order] * self.num_observations + observation[order]
        begins = np.flatnonzero(np.diff(seen, prepend=-1))
        parts = probability[order], after[order], np.append(begins, len(order))
        return pair[order][begins], sparse.csr_array(parts, shape=(len(begins), self.num_states))

    @cached_property
    def outcomes(self) -> Outcomes:
        """Everything that can happen and does not end the episode.

        Raises: TaskError where the pairs of a state entered and an observation are more than `MOST_OUTCOMES`.
        """
        widths = [np.diff(show.indptr)[move.indices].sum() for move, show in zip(self.moves, self.shows, strict=True)]
        refuse_too_many(self.name, "a list of all that can happen", 6 * int(sum(widths)), 6 * MOST_OUTCOMES)
        parts = []
        for action, (move, pay, show) in enumerate(zip(self.moves, self.pays, self.shows, strict=True)):
            width = np.diff(show.indptr)[move.indices]
            # Which move, and which of the observations of the state that it enters.
            which = np.repeat(np.arange(move.nnz), width)
            place = np.arange(len(which)) - np.repeat(width.cumsum() - width, width) + show.indptr[move.indices[which]]
            state = row_numbers(move)
            parts.append(
                Outcomes(
                    np.full(len(which), action),
                    state[which],
                    move.indices[which],
                    show.indices[place],
                    move.data[which] * show.data[place],
                    pay.data[which],
                )
            )
        return Outcomes(*map(np.concatenate, zip(*parts, strict=True)))

    @cached_property
    def branches(self) -> dict[tuple[int, int], sparse.csr_array]:
        """P(s', o', the episode goes on | s, a) as [S, S'] by (a, o'), where that can be."""
        found = {}
        action, state, after, observation, probability, _ = self.outcomes
        pair = action * self.num_observations + observation
        order = np.argsort(pair, kind="stable")
        begins = np.flatnonzero(np.diff(pair[order], prepend=-1))
        for mine in np.split(order, begins[1:]) if len(order) else []:
            entries = (probability[mine], (state[mine], after[mine]))
            shape = (self.num_states, self.num_states)
            found[int(action[mine[0]]), int(observation[mine[0]])] = sparse.csr_array(entries, shape=shape)
        return found


def kernel_of(
    name: str, lists: Lists, reward: np.ndarray, square: np.ndarray, terminal: np.ndarray, initial: np.ndarray
) -> Kernel:
    """From what is not 0 of a task's tables, see `TabularPOMDP`; reward, square: [A, S], as `Kernel` has them."""
    moves, pays = [], []
    for law, pay in zip(lists.transition, lists.reward, strict=True):
        # Both have the same entries; what enters a terminal state is taken out.
        onward = ~terminal[law.indices]
        begins = np.concatenate([[0], onward.cumsum()])[law.indptr]
        moves.append(sparse.csr_array((law.data[onward], law.indices[onward], begins), shape=law.shape))
        pays.append(sparse.csr_array((pay.data[onward], law.indices[onward], begins), shape=law.shape))
    start = sparse.csr_array(sparse.diags_array(initial) @ lists.initial_observation)
    start.eliminate_zeros()
    return Kernel(name, tuple(moves), tuple(pays), lists.observation, reward, square, start)
