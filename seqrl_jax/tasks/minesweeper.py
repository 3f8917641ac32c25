"""Minesweeper whose board is never shown: what an opened cell says is to be remembered with where it was."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from itertools import combinations
from math import comb
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from msgspec import Meta

from seqrl_jax.naming import require
from seqrl_jax.tasks.environment import Discrete, Transition, Whole
from seqrl_jax.tasks.ready import HISTORY, MEMORYLESS, Certificate, Ready, exactly

FieldSide = Annotated[int, Meta(ge=1, le=100)]
Mines = Annotated[int, Meta(ge=1, le=9_997)]
UNDECIDED, SAFE, MINE = -1, 0, 1
BESIDE = 8
"""Cells beside one that is not at an edge."""
EXACT_CELLS, EXACT_BOARDS = 25, 200
"""Up to so many, the best play is computed, in a second or two."""


class FieldState(NamedTuple):
    """ground: [rows + 2, columns + 2] int8, UNDECIDED, SAFE or MINE, in a rim that is safe. opened: [cells] bool. time:
    steps."""

    ground: Array
    opened: Array
    time: Array


@dataclass(frozen=True)
class Minesweeper(Whole):
    """Observed is how many mines lie beside the cell that was opened last, 0 at first; one number more is a mine.

    Whether there is a mine is decided where a cell is opened, for it and those beside it, one after the other: each is
    one with the chance of the mines' share among the cells that are not decided. That is the law of mines that are laid
    out at random, and no board is laid out.
    """

    rows: int
    columns: int
    mines: int

    @property
    def cells(self) -> int:
        return self.rows * self.columns

    @property
    def longest(self) -> int:
        """As many steps as there are cells without a mine."""
        return self.cells - self.mines

    @property
    def exploded(self) -> int:
        """What is observed of a mine."""
        return min(self.mines, BESIDE) + 1

    @property
    def gain(self) -> float:
        """What a cell without a mine pays, once."""
        return 1 / self.longest

    @property
    def explosion(self) -> float:
        """What a mine costs."""
        return 0.5 + 1 / self.longest

    @property
    def repetition(self) -> float:
        """What a cell costs that is open."""
        return 0.5 / (self.longest - 2)

    @property
    def action_space(self) -> Discrete:
        return Discrete(self.cells)

    @property
    def observation_space(self) -> Discrete:
        return Discrete(self.exploded + 1)

    def reset(self, key: Array, params: Any) -> tuple[Array, FieldState]:
        ground = jnp.full((self.rows, self.columns), UNDECIDED, jnp.int8)
        state = FieldState(jnp.pad(ground, 1, constant_values=SAFE), jnp.zeros(self.cells, bool), jnp.int32(0))
        return jnp.int32(0), state

    def step(self, key: Array, state: FieldState, action: Array, params: Any) -> Transition:
        # In the rim, the three by three cells around this one begin at its own row and column.
        corner = (action // self.columns, action % self.columns)
        around = self._decided(state.ground, lax.dynamic_slice(state.ground, corner, (3, 3)), key)
        mine, repeats = around[1, 1] == MINE, state.opened[action]
        after = FieldState(
            lax.dynamic_update_slice(state.ground, around, corner),
            state.opened.at[action].set(True),
            state.time + 1,
        )
        obs = jnp.where(mine, self.exploded, jnp.sum(around, dtype=jnp.int32))
        reward = jnp.where(mine, -self.explosion, jnp.where(repeats, -self.repetition, self.gain))
        return Transition(obs, after, reward, mine | (after.time == self.longest), jnp.bool_(False), {})

    def _decided(self, ground: Array, around: Array, key: Array) -> Array:
        """These cells [3, 3] of the ground, where all of them are decided."""
        hidden = jnp.sum(ground == UNDECIDED, dtype=jnp.float32)
        left = self.mines - jnp.sum(ground == MINE, dtype=jnp.float32)
        cells = []
        for cell, chance in zip(around.ravel(), jax.random.uniform(key, (around.size,)), strict=True):
            fresh, mine = cell == UNDECIDED, chance * hidden < left
            cells.append(jnp.where(fresh, mine.astype(jnp.int8), cell))
            hidden, left = jnp.where(fresh, hidden - 1, hidden), jnp.where(fresh & mine, left - 1, left)
        return jnp.stack(cells).reshape(around.shape)


def minesweeper(rows: FieldSide = 4, columns: FieldSide = 4, mines: Mines = 2) -> Ready:
    """Under a board of `rows` x `columns` cells lie `mines` mines, anywhere. A step opens a cell and shows one number:
    how many mines lie beside it, edge to edge or corner to corner. The board is not shown. Each of the S cells without
    a mine pays 1 / S when it is opened. To open it again costs 0.5 / (S - 2). A mine costs 0.5 + 1 / S and ends the
    episode, as do S steps. POPGym's easy, medium and hard game have 4 x 4 cells with 2 mines, 6 x 6 with 6, and 8 x 8
    with 10. There the number of an opened mine counts the mine itself; here it is a number of its own.

    Picture::

        opened  . . 1 *        shown, one after the other:  0, 1, 1
                0 1 . .
                . . * .        the mines * and what is . are not known

    Seed idea: what was seen means something only together with where it was, and with all else that was seen.
    Source: Morad et al. (2023), POPGym, app. A.
    Optimum: of small boards, by a search over which of them are left. Of others, between opening some cells in any
    order and being shown the mines when the first cell is open. Memoryless: at least what opening any cell earns.
    """
    env = Minesweeper(rows, columns, mines)
    require(env.cells - mines > 2, "fewer than three cells have no mine", rows=rows, columns=columns, mines=mines)
    history = _history(env)
    how = "lower: any cell at every step; upper: the history value"
    return Ready(env, (), {MEMORYLESS: Certificate(_any_cell(env), history.upper, how), HISTORY: history})


def _history(env: Minesweeper) -> Certificate:
    if env.cells <= EXACT_CELLS and comb(env.cells, env.mines) <= EXACT_BOARDS:
        return exactly(best_value(env), "a search over the boards that are left")
    first = env.mines / env.cells
    how = "lower: some cells in any order, one of them again to the end; upper: all is known but the first cell"
    return Certificate(_in_any_order(env), 1 - first - first * env.explosion, how)


def _any_cell(env: Minesweeper) -> float:
    """What every cell with the same chance earns, at every step. Cells without a mine that were chosen before are any
    of the S."""
    safe, new = env.longest / env.cells, (1 - env.gain) ** np.arange(env.longest)
    paid = safe * (new * env.gain - (1 - new) * env.repetition) - (1 - safe) * env.explosion
    return float(safe ** np.arange(env.longest) @ paid)


def _in_any_order(env: Minesweeper) -> float:
    """What so many cells earn that are opened whatever is shown, the last one of them to the end; the best number."""
    done = np.arange(env.longest)
    safe = (env.longest - done) / (env.cells - done)
    alive = np.cumprod(np.append(1.0, safe))
    opening = np.cumsum(alive[:-1] * (safe * env.gain - (1 - safe) * env.explosion))
    return float(np.max(opening - alive[1:] * (env.longest - 1 - done) * env.repetition))


@cache
def best_value(env: Minesweeper) -> float:
    """The most that can be expected.

    Boards are as likely as one another while they agree with what was shown, so that which of them are left, and which
    cells are open, is all that matters. Who opens a cell again may as well do so at the end only. To open a cell that
    has no mine on any board is never worse than anything else: it pays, it can only tell more, and who never opened it
    would spend a step on an open cell or a mine.
    """
    boards = [frozenset(board) for board in combinations(range(env.cells), env.mines)]
    # Sets of boards are bits of a number: those with a mine in a cell, and those without, by what they show there.
    mined = [_bits(cell in board for board in boards) for cell in range(env.cells)]
    shown = [
        [_bits(cell not in board and len(board & beside) == count for board in boards) for count in range(env.exploded)]
        for cell, beside in enumerate(_beside(env))
    ]

    @cache
    def ahead(left: int, opened: int) -> float:
        """The sum over the boards that are left of what is still earned."""
        steps = env.longest - opened.bit_count()
        if not steps:
            return 0.0
        closed = [cell for cell in range(env.cells) if not opened >> cell & 1]
        safe = next((cell for cell in closed if not left & mined[cell]), None)
        if safe is not None:
            return opening(left, opened, safe)
        best = max(opening(left, opened, cell) for cell in closed)
        return max(best, -steps * env.repetition * left.bit_count()) if opened else best

    def opening(left: int, opened: int, cell: int) -> float:
        value = -env.explosion * (left & mined[cell]).bit_count()
        for alike in shown[cell]:
            if left & alike:
                value += env.gain * (left & alike).bit_count() + ahead(left & alike, opened | 1 << cell)
        return value

    return ahead((1 << len(boards)) - 1, 0) / len(boards)


def _bits(flags: Iterable[bool]) -> int:
    """A number with these bits, the lowest first."""
    return sum(1 << place for place, flag in enumerate(flags) if flag)


def _beside(env: Minesweeper) -> list[frozenset[int]]:
    """For every cell, those beside it."""
    places = [divmod(cell, env.columns) for cell in range(env.cells)]
    return [
        frozenset(other for other, (y, x) in enumerate(places) if max(abs(y - row), abs(x - column)) == 1)
        for row, column in places
    ]
