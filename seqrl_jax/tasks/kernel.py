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

    moves: by action [S, S], P(s', the episode goes on | s, a). pays: by action [S, S], R(s, a, s') at the same entries.
    shows: by action [S, O], the law of what is observed on entering a state. reward, square: [A, S], expectation of
    the reward and of its square, endings included. start: [S, O], P(s_0, o_0).
    """

    moves: tuple[sparse.csr_array, ...]
    pays: tuple[sparse.csr_array, ...]
    shows: tuple[sparse.csr_array, ...]
    reward: np.ndarray
    square: np.ndarray
    start: np.ndarray

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

    def onward(self, joint: np.ndarray) -> np.ndarray:
        """[S, O]: the mass of the next (s', o'), from that of (action, state), [A, S]."""
        parts = zip(joint, self.moves, self.shows, strict=True)
        return sum(sparse.diags_array(mass @ move) @ show for mass, move, show in parts).toarray()

    @cached_property
    def outcomes(self) -> Outcomes:
        """Everything that can happen and does not end the episode."""
        parts = []
        for action, (move, pay, show) in enumerate(zip(self.moves, self.pays, self.shows, strict=True)):
            width = np.diff(show.indptr)[move.indices]
            # Which move, and which of the observations of the state that it enters.
            which = np.repeat(np.arange(move.nnz), width)
            place = np.arange(len(which)) - np.repeat(width.cumsum() - width, width) + show.indptr[move.indices[which]]
            state = np.repeat(np.arange(self.num_states), np.diff(move.indptr))
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
    transition: np.ndarray,
    observation: np.ndarray,
    reward: np.ndarray,
    terminal: np.ndarray,
    initial: np.ndarray,
    initial_observation: np.ndarray,
) -> Kernel:
    """From the tables of a task, see `TabularPOMDP`."""
    moves, pays = [], []
    for law, pay in zip(transition, reward, strict=True):
        move = sparse.csr_array(law * ~terminal)
        state = np.repeat(np.arange(len(law)), np.diff(move.indptr))
        moves.append(move)
        pays.append(sparse.csr_array((pay[state, move.indices], move.indices, move.indptr), shape=move.shape))
    return Kernel(
        tuple(moves),
        tuple(pays),
        tuple(map(sparse.csr_array, observation)),
        np.einsum("ast,ast->as", transition, reward),
        np.einsum("ast,ast,ast->as", transition, reward, reward),
        initial[:, None] * initial_observation,
    )
