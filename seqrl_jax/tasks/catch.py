"""Catch whose ball is seen at the beginning only (after bsuite's)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from msgspec import Meta

from seqrl_jax.naming import require
from seqrl_jax.tasks.environment import Box, Discrete, Transition, Whole
from seqrl_jax.tasks.ready import HISTORY, MEMORYLESS, Ready, exactly

BoardSide = Annotated[int, Meta(ge=2, le=1000)]
Rows = Annotated[int, Meta(ge=1, le=999)]


class CatchState(NamedTuple):
    """ball, paddle: columns. row: the ball's, which is the time."""

    ball: Array
    paddle: Array
    row: Array


@dataclass(frozen=True)
class MemoryCatch(Whole):
    """Observed is the board, 1 where the paddle is and, in its first `visible` rows, where the ball is."""

    rows: int
    columns: int
    visible: int
    action_space = Discrete(3)

    @property
    def longest(self) -> int:
        return self.rows - 1

    @property
    def observation_space(self) -> Box:
        return Box((self.rows, self.columns), active=2)

    def reset(self, key: Array, params: Any) -> tuple[Array, CatchState]:
        ball = jax.random.randint(key, (), 0, self.columns)
        state = CatchState(ball, jnp.int32(self.columns // 2), jnp.int32(0))
        return self._shown(state), state

    def step(self, key: Array, state: CatchState, action: Array, params: Any) -> Transition:
        after = CatchState(state.ball, jnp.clip(state.paddle + action - 1, 0, self.columns - 1), state.row + 1)
        landed = after.row == self.rows - 1
        reward = jnp.where(landed, jnp.where(after.paddle == after.ball, 1.0, -1.0), 0.0)
        return Transition(self._shown(after), after, reward, landed, jnp.bool_(False), {})

    def _shown(self, state: CatchState) -> Array:
        seen = jnp.where(state.row < self.visible, 1.0, 0.0)
        board = jnp.zeros((self.rows, self.columns)).at[state.row, state.ball].set(seen)
        return board.at[self.rows - 1, state.paddle].set(1.0)

    def within(self, moves: int) -> float:
        """The share of the columns to which the paddle comes in so many moves."""
        start, last = self.columns // 2, self.columns - 1
        return (min(last, start + moves) - max(0, start - moves) + 1) / self.columns


def memory_catch(rows: BoardSide = 10, columns: BoardSide = 5, visible: Rows = 1) -> Ready:
    """A ball falls straight down a board, one row a step, and a paddle in the lowest row is to be under it at the end.
    The paddle starts in the middle and moves left, stays or moves right. The ball is seen in the first `visible` rows
    only. Caught pays 1, missed -1.

    Picture::

        . o . . .        seen
        . ? . . .        not seen any more
        . . . . .
        . . = . .        the paddle

    Seed idea: what is to be kept is a place, and it is acted upon for as long as it must be kept.
    Source: after Osband et al. (2020), bsuite, catch.
    Optimum: 1, where the paddle has the time to reach every column. Memoryless: with the ball out of sight, where it
    ends is a matter of where the paddle stands by then, so that no more columns can be served than it reaches in sight
    of the ball. A share p of the columns is worth 2 p - 1.
    """
    require(visible < rows, "no move is made in the last row", visible=visible, rows=rows)
    env = MemoryCatch(rows, columns, visible)
    certified = {
        MEMORYLESS: exactly(2 * env.within(visible) - 1, "every column that is reached while the ball is seen"),
        HISTORY: exactly(2 * env.within(rows - 1) - 1, "every column that is reached"),
    }
    return Ready(env, (), certified)
