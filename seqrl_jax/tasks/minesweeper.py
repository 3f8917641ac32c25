"""Minesweeper whose board is never shown: what an opened cell says is to be remembered with where it was."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache, partial
from itertools import chain, combinations, product
from math import comb
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from msgspec import Meta

from seqrl_jax.naming import require
from seqrl_jax.tasks.build import Outcome, build, ends, goes, uniform
from seqrl_jax.tasks.environment import Discrete, Transition, Whole
from seqrl_jax.tasks.ready import HISTORY, MEMORYLESS, Certificate, Ready, exactly
from seqrl_jax.tasks.tabular import TabularPOMDP

FieldSide = Annotated[int, Meta(ge=1, le=100)]
Mines = Annotated[int, Meta(ge=1, le=9_997)]
UNDECIDED, SAFE, MINE = -1, 0, 1
BESIDE = 8
"""Cells beside one that is not at an edge."""
EXACT_CELLS, EXACT_BOARDS = 25, 200
"""Up to so many, the best play is computed, in a second or two."""
TABLE_CELLS = 6
"""Up to so many, the game is a table of hundreds of states."""


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
    order and being shown the mines when the first cell is open. Memoryless (only the last number is seen): of up to six
    cells, branch and bound over the laws for each number; exact of 2 x 2 cells. Of other small boards at least what a
    block of cells earns behind 0 and the rest behind other numbers, of large ones what any cell does. Nothing is proved
    above these but the history value: one law for each number leads the way from cell to cell, and a closer bound would
    have to count unknown mines and cells that are drawn again at once.
    """
    env = Minesweeper(rows, columns, mines)
    require(env.cells - mines > 2, "fewer than three cells have no mine", rows=rows, columns=columns, mines=mines)
    history = _history(env)
    known = {MEMORYLESS: _memoryless(env, history.upper), HISTORY: history}
    return Ready(env, (), known, partial(as_table, env) if env.cells <= TABLE_CELLS else None)


def as_table(env: Minesweeper) -> TabularPOMDP:
    """The same game as a table: states are where the mines are, which cells are open, and what was shown last."""
    cells, beside = range(env.cells), _beside(env)

    def states() -> Iterator[tuple[tuple[int, ...], tuple[int, ...], int]]:
        for mines in combinations(cells, env.mines):
            safe = [cell for cell in cells if cell not in mines]
            for opened in chain.from_iterable(combinations(safe, number) for number in range(len(safe) + 1)):
                for number in {len(beside[cell].intersection(mines)) for cell in opened} or {0}:
                    yield mines, opened, number

    def step(state: tuple[tuple[int, ...], tuple[int, ...], int], action: str) -> Outcome:
        (mines, opened, _), cell = state, int(action)
        if cell in mines:
            return ends(-env.explosion)
        number, repeats = len(beside[cell].intersection(mines)), cell in opened
        return goes(
            (mines, tuple(sorted({*opened, cell})), number),
            -env.repetition if repeats else env.gain,
        )

    return build(
        name="minesweeper",
        states=states(),
        actions=[str(cell) for cell in cells],
        observations=[str(number) for number in range(env.exploded)],
        start=uniform((mines, (), 0) for mines in combinations(cells, env.mines)),
        step=step,
        observe=lambda state: str(state[2]),
        discount=1.0,
        horizon=env.longest,
    )


def _memoryless(env: Minesweeper, history: float) -> Certificate:
    """Of 2 x 2 cells, three of them safe, each safe one shows a 1, so that all steps but the first follow one law.

    With chance q it is the first cell again, with r_i one of the others, any of which may be the mine. The return is
    3/4 (g - q (1 + q) / 2 - (1 - q^2) / 18 - (1 - q^2 + sum of r_i^2) / 6) - m / 4, g = 1/3 being what a cell pays and
    m = 5/6 what a mine costs. So the r_i are equal, (1 - q) / 3, and what is left falls with q: it is best at q = 0.
    """
    if env.rows == env.columns == 2:
        return exactly(-1 / 6, "any of the other three cells behind the first one")
    if _has_few_boards(env):
        values = ((memoryless_value(env, _block(env, *size)), size) for size in _blocks(env))
        # Mirrored blocks earn as much, but for rounding: of such the first one.
        value, (rows, columns) = max(values, key=lambda found: round(found[0], 9))
        how = f"lower: {rows} x {columns} cells in a corner while 0 is shown, behind other numbers the rest"
        return Certificate(value, history, f"{how}; upper: the history value")
    return Certificate(_any_cell(env), history, "lower: any cell at every step; upper: the history value")


def _has_few_boards(env: Minesweeper) -> bool:
    return env.cells <= EXACT_CELLS and comb(env.cells, env.mines) <= EXACT_BOARDS


def _blocks(env: Minesweeper) -> list[tuple[int, int]]:
    """Sizes of blocks of cells in a corner, but for the whole board."""
    return [*product(range(1, env.rows + 1), range(1, env.columns + 1))][:-1]


def _block(env: Minesweeper, rows: int, columns: int) -> np.ndarray:
    """[numbers, cells]: any cell of this block while 0 is shown, any of the rest behind another number."""
    row, column = np.divmod(np.arange(env.cells), env.columns)
    inside = (row < rows) & (column < columns)
    return np.stack([inside / inside.sum()] + [~inside / (~inside).sum()] * (env.exploded - 1))


def memoryless_value(env: Minesweeper, policy: np.ndarray) -> float:
    """What it earns to draw cells from policy [numbers, cells], a law for each number that was shown last.

    Exact, over all boards: on one, the numbers that are shown are a Markov chain that ends with a mine. Whether a cell
    is ever opened is seen in the chain that lacks it.
    """
    beside = _beside(env)
    boards = [frozenset(board) for board in combinations(range(env.cells), env.mines)]
    number = [[-1 if cell in board else len(board & beside[cell]) for cell in range(env.cells)] for board in boards]
    shows = (np.array(number)[:, :, None] == np.arange(env.exploded)).astype(float)
    through = policy.T[:, :, None] * shows[:, :, None, :]
    chain = through.sum(1)
    lacking = chain[:, None] - through
    now = np.zeros((len(boards), env.exploded))
    now[:, 0] = 1.0
    unopened = np.repeat(now[:, None], env.cells, 1)
    opened = steps = 0.0
    for _ in range(env.longest):
        opened += np.einsum("bco,oc,bc->", unopened, policy, shows.sum(-1))
        now, unopened = np.einsum("bo,bop->bp", now, chain), np.einsum("bco,bcop->bcp", unopened, lacking)
        steps += now.sum()
    repeated, exploded = steps - opened, len(boards) - now.sum()
    return float(opened * env.gain - repeated * env.repetition - exploded * env.explosion) / len(boards)


def _history(env: Minesweeper) -> Certificate:
    if _has_few_boards(env):
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
