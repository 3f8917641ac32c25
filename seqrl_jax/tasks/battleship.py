"""Battleship whose board is never shown: where a shot went is to be remembered with what it hit."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cache
from math import ceil, comb, factorial, prod
from typing import Annotated, Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy
from jax import Array
from msgspec import Meta

from seqrl_jax.naming import require
from seqrl_jax.tasks.environment import Discrete, Transition, Whole
from seqrl_jax.tasks.ready import HISTORY, MEMORYLESS, Certificate, Ready, exactly

SeaSide = Annotated[int, Meta(ge=2, le=100)]
Fleet = Literal["2", "2+2", "2+3", "2+3+3", "2+3+3+4", "2+3+3+4+5"]
EXACT_CELLS = 12
"""Up to so many, the best play is computed, in a second at most."""
LAW_CELLS, LAW_BOARDS = 200, 4_000_000_000
"""Up to so many, with every order of placing ships, the law of a ship is exact; in two seconds at most."""
COARSE, FINE, ROUNDED = 400, 40_000, 10_000
"""Points between 0 and 1 by which prices are chosen, and by which the bound is; it is rounded up to such a part of 1,
the same everywhere."""


class SeaState(NamedTuple):
    """ships, shot: [cells] bool, where a ship lies and where was shot. time: steps."""

    ships: Array
    shot: Array
    time: Array


@dataclass(frozen=True)
class Battleship(Whole):
    """Observed is 1 where the last shot hit what had not been hit before, else 0.

    ships: their lengths, in the order in which they are placed: each of them in any of the places, across and down,
    that those before it leave free.
    """

    rows: int
    columns: int
    ships: tuple[int, ...]
    observation_space = Discrete(2)
    expensive_reset = True

    @property
    def cells(self) -> int:
        return self.rows * self.columns

    @property
    def targets(self) -> int:
        """Cells in which a ship lies."""
        return sum(self.ships)

    @property
    def gain(self) -> float:
        """What a hit pays."""
        return 1 / self.targets

    @property
    def miss(self) -> float:
        """What any other shot costs."""
        return 1 / (self.cells - self.targets)

    @property
    def longest(self) -> int:
        return self.cells

    @property
    def action_space(self) -> Discrete:
        return Discrete(self.cells)

    def reset(self, key: Array, params: Any) -> tuple[Array, SeaState]:
        taken = jnp.zeros((self.rows, self.columns), bool)
        for length, chance in zip(self.ships, jax.random.uniform(key, (len(self.ships),)), strict=True):
            taken = taken | self._ship(taken, length, chance)
        return jnp.int32(0), SeaState(taken.ravel(), jnp.zeros(self.cells, bool), jnp.int32(0))

    def step(self, key: Array, state: SeaState, action: Array, params: Any) -> Transition:
        hit = state.ships[action] & ~state.shot[action]
        after = SeaState(state.ships, state.shot.at[action].set(True), state.time + 1)
        reward = jnp.where(hit, self.gain, -self.miss)
        ended = (after.shot | ~state.ships).all() | (after.time == self.longest)
        return Transition(hit.astype(jnp.int32), after, reward, ended, jnp.bool_(False), {})

    def _ship(self, taken: Array, length: int, chance: Array) -> Array:
        """[rows, columns] bool: a ship of this length in any free place. chance: uniform in [0, 1)."""
        walled = jnp.pad(taken, (0, length - 1), constant_values=True)
        across = jnp.stack([walled[: self.rows, i : i + self.columns] for i in range(length)]).any(0)
        down = jnp.stack([walled[i : i + self.rows, : self.columns] for i in range(length)]).any(0)
        # Places are counted line by line, by their first cell: a running sum over all of them would cost more.
        free = (~jnp.concatenate([across, down])).astype(jnp.int32)
        number = (chance * free.sum().astype(jnp.float32)).astype(jnp.int32)
        line, rest = _nth(free.sum(1), number)
        column, _ = _nth(free[line], rest)
        upright, row = line >= self.rows, line % self.rows
        below, right = jnp.arange(self.rows) - row, jnp.arange(self.columns) - column
        tall, wide = jnp.where(upright, length, 1), jnp.where(upright, 1, length)
        return ((below >= 0) & (below < tall))[:, None] & ((right >= 0) & (right < wide))

    def places(self, length: int) -> tuple[int, int]:
        """How many a ship of this length has in a line across and in one down."""
        return max(self.columns - length + 1, 0), max(self.rows - length + 1, 0)

    def least_free(self) -> list[int]:
        """For each ship, a number of places such that those before it never leave it fewer."""
        free = []
        for before, length in enumerate(self.ships):
            across, down = self.places(length)
            taken = (max(_taken(m, length, across, down), _taken(m, length, down, across)) for m in self.ships[:before])
            free.append(self.rows * across + self.columns * down - sum(taken))
        return free


def _taken(other: int, length: int, along: int, through: int) -> int:
    """The most places that another ship takes from one of this length, which has `along` places in the line in which
    the other one lies, and `through` in each line that crosses that one."""
    return min(other + length - 1, along) + other * min(length, through)


def _nth(counts: Array, number: Array) -> tuple[Array, Array]:
    """The entry of counts [N] that holds this one, when all that is counted is numbered, and its number in there."""
    entry = jnp.sum(jnp.cumsum(counts) <= number)
    return entry, number - jnp.sum(jnp.where(jnp.arange(len(counts)) < entry, counts, 0))


def battleship(rows: SeaSide = 8, columns: SeaSide = 8, ships: Fleet = "2+3+3+4") -> Ready:
    """In a sea of `rows` x `columns` cells lie ships of these lengths, across or down, one after the other placed
    wherever there is room. A step shoots at a cell, and says whether that hit a ship where it had not been hit before.
    The board is not shown. All hits add up to 1. Any other shot costs 1 over the number of cells without a ship, so
    that to shoot at every cell once, with the last hit at the end, earns 0. The episode ends with the last hit, or
    after as many steps as there are cells. POPGym's easy, medium and hard game have 8 x 8, 10 x 10 and 12 x 12 cells.

    Picture::

        . o . .        shown, one after the other:  0, 1, 1, 0
        . x x o        hits x, misses o: a ship that lies across goes on to the left, or ends
        . . . .

    Seed idea: a hit says where the next one may be, to who remembers where it was, and where there was none.
    Source: Morad et al. (2023), POPGym, app. A.
    Optimum: of small boards, by a search over which of them are left. Of others, between shooting at every cell once,
    in random order, and what so few hits and misses can tell of where the ships are. Memoryless (only whether the last
    shot was a new hit is seen): between what shooting anywhere earns, and what is hit by as many independent shots as
    there are steps, and one more for each hit, drawn as is best for where ships mostly lie.
    """
    env = Battleship(rows, columns, tuple(int(length) for length in ships.split("+")))
    has_room = min(env.least_free()) > 0 and env.targets < env.cells
    require(has_room, "there may be no room for all ships and a miss", rows=rows, columns=columns, ships=ships)
    history = _history(env)
    blind = most_blindly(env)
    what = "independent shots, one a step and one a hit" if blind < history.upper else "the history value"
    how = f"lower: any cell at every step; upper: {what}"
    return Ready(env, (), {MEMORYLESS: Certificate(_any_cell(env), min(blind, history.upper), how), HISTORY: history})


def _history(env: Battleship) -> Certificate:
    if env.cells <= EXACT_CELLS:
        return exactly(1 - env.miss * fewest_misses(env), "a search over the boards that are left")
    # In random order a cell without a ship has any place among the hits, each as likely: in one of targets + 1 cases it
    # comes behind the last hit, and costs nothing.
    how = "lower: every cell once, in random order; upper: the boards that so few misses can distinguish"
    return Certificate(1 / (env.targets + 1), 1 - env.miss * misses_needed(env), how)


def _any_cell(env: Battleship) -> float:
    """What every cell with the same chance earns, at every step, by induction over hits and steps."""
    chance = (env.targets - np.arange(env.targets)) / env.cells
    ahead = np.zeros(env.targets + 1)
    for _ in range(env.longest):
        ahead[:-1] = chance * (env.gain + ahead[1:]) + (1 - chance) * (ahead[:-1] - env.miss)
    return float(ahead[0])


@cache
def most_blindly(env: Battleship) -> float:
    """No policy earns more that sees only whether the last shot was a new hit.

    It draws cells from one law, p, behind a miss and from another one, q, behind a hit. Let both be drawn in advance, N
    times and K - 1 times, with N cells and K targets: no more are used, for behind the last hit there is no shot. All
    of it is independent of the board, so that a target at c is hit with a probability of at most
    v_c = 1 - (1 - p_c)^N (1 - q_c)^(K - 1). That all are hit is at most as likely as the product of their v_c (which
    cells are drawn is negatively associated: Joag-Dev & Proschan, 1983), so as the mean of v_c^K, and saves N - K
    misses at most, which cost 1 together. With P_c, the probability of a ship at c, no more is earned than the sum of
    P_c F(v_c), less N misses, where F(v) = ((1 + K miss) v + v^K) / K.

    Its largest value over p, q and P is bounded by its dual: for all prices a, b, z >= 0 it is at most a + b + z K and,
    for every cell, the most of U_c max(F(v) - z, 0) less what v costs, a p + b q; U_c is an upper end of P_c. That cost
    is concave in log(1 - p) and log(1 - q), so that v is had at least cost by one of p and q alone.
    """
    cells, targets = env.cells, env.targets
    upper, number = np.unique(largest_chances(env).round(9) + 1e-9, return_counts=True)

    def bound(prices: np.ndarray, points: int) -> float:
        hit = np.linspace(0.0, 1.0, points)
        first, second, spare = np.abs(prices)
        gain = ((1 + targets * env.miss) * hit + hit**targets) / targets
        alone = [price * (1 - (1 - hit) ** (1 / shots)) for price, shots in ((first, cells), (second, targets - 1))]
        # Both grow: between two points there is at most the gain of the upper one at the cost of the lower one.
        surplus = upper[:, None] * np.maximum(gain[1:] - spare, 0.0) - np.minimum(*alone)[:-1]
        return float(first + second + spare * targets + number @ surplus.max(1) - env.miss * cells)

    prices = scipy.optimize.minimize(bound, (0.6, 0.1, 0.01), (COARSE,), method="Nelder-Mead").x
    return ceil(bound(prices, FINE) * ROUNDED) / ROUNDED


def largest_chances(env: Battleship) -> np.ndarray:
    """[cells], an upper end of the probability of a ship in each.

    A ship is exact where all boards of those before it but one can be gone through: the place of that one leaves it so
    many places, which is a product of matrices. Another one is in no place more likely than as one of the fewest that
    it may find.
    """
    chances, boards_of_all, before = np.zeros(env.cells), 1, np.zeros((1, env.cells))
    for ship, (length, least) in enumerate(zip(env.ships, env.least_free(), strict=True)):
        places = _places(env, length)
        boards_of_all *= len(places)
        if env.cells > LAW_CELLS or boards_of_all > LAW_BOARDS:
            chances += np.bincount([cell for place in places for cell in place], minlength=env.cells) / least
            continue
        boards, law = _mirrored(replace(env, ships=env.ships[: max(ship - 1, 0)]))
        here, free = _as_rows(env, places), boards @ before.T == 0
        joint = law[:, None] * free / free.sum(1, keepdims=True)
        room, apart = ((some @ here.T == 0).astype(float) for some in (boards, before))
        chances += (room * ((joint / (room @ apart.T)) @ apart)).sum(0) @ here
        before = here
    grid = chances.reshape(env.rows, env.columns)
    return np.ravel((grid + grid[::-1] + grid[:, ::-1] + grid[::-1, ::-1]) / 4)


def _mirrored(env: Battleship) -> tuple[np.ndarray, np.ndarray]:
    """Boards [boards, cells] and their probabilities, each standing for its mirror images."""
    law = board_law(env)
    boards, chance = _as_rows(env, law), np.array([*law.values()])
    row, column = np.divmod(np.arange(env.cells), env.columns)
    for place, side in ((row, env.rows), (column, env.columns)):
        chance = chance * (1 + np.sign(boards @ (2 * place - (side - 1))))
    return boards[chance > 0], chance[chance > 0]


def _as_rows(env: Battleship, sets: Iterable[frozenset[int]]) -> np.ndarray:
    """[sets, cells], 1 where the cell is in the set."""
    listed = [*sets]
    rows = np.zeros((len(listed), env.cells))
    for row, cells in zip(rows, listed, strict=True):
        row[list(cells)] = 1.0
    return rows


def misses_needed(env: Battleship) -> float:
    """No policy expects fewer misses before the last hit, where more than there are cells without a ship count as many.

    A deterministic one is a tree: hits and misses in the order in which they came, up to the last hit, say which cells
    have ships. With K of these and at most m misses there are C(K + m, m) such orders, so that no more boards are done
    with m misses, and each has a limited probability. All placements of n ships that take the same cells are found by
    going along the cells: the first one that is not taken yet begins a ship, one of those that are left, across or
    down. So there are at most n! 2^n, each as likely as the places allow that every ship finds.
    """
    likeliest = factorial(len(env.ships)) * 2 ** len(env.ships) / prod(env.least_free())
    orders = (comb(env.targets + misses, misses) for misses in range(env.cells - env.targets))
    return sum(max(0.0, 1 - likeliest * number) for number in orders)


@cache
def fewest_misses(env: Battleship) -> float:
    """The least number of misses before the last hit that can be expected.

    Which boards are left is all that matters: where all of them agree there is nothing to learn, and hits are free. A
    cell that was shot at is never worth another shot, and who shoots at none twice is done in time.
    """
    law = board_law(env)
    # Sets of boards are bits of a number.
    ships = [sum(1 << i for i, board in enumerate(law) if cell in board) for cell in range(env.cells)]

    @cache
    def weight(left: int) -> float:
        return sum(chance for i, chance in enumerate(law.values()) if left >> i & 1)

    @cache
    def misses(left: int) -> float:
        """Expected from here, times the probability of the boards that are left."""
        splits = [(left & hit, left & ~hit) for hit in ships if left & hit and left & ~hit]
        return min((misses(hit) + misses(missed) + weight(missed) for hit, missed in splits), default=0.0)

    return misses((1 << len(law)) - 1)


def board_law(env: Battleship) -> dict[frozenset[int], float]:
    """The probability of every set of cells in which ships may lie."""
    law: dict[frozenset[int], float] = {frozenset(): 1.0}
    for length in env.ships:
        longer: dict[frozenset[int], float] = {}
        for board, chance in law.items():
            free = [place for place in _places(env, length) if not place & board]
            for place in free:
                longer[board | place] = longer.get(board | place, 0.0) + chance / len(free)
        law = longer
    return law


def _places(env: Battleship, length: int) -> list[frozenset[int]]:
    cell = np.arange(env.cells).reshape(env.rows, env.columns)
    lines = [*cell, *cell.T]
    return [frozenset(line[i : i + length].tolist()) for line in lines for i in range(len(line) - length + 1)]
