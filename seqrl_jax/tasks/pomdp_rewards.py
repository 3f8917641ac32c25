"""The `R` entries of a `.POMDP` file, in their order: what is paid on the way from a state to a state, by action."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np

from seqrl_jax.tasks.pomdp_tokens import EVERY, Element, PomdpFileError, Token
from seqrl_jax.tasks.tables import Matrix, dense_matrix

MAX_ENTRIES = 2**26
"""Most numbers in one array of rewards on observations (0.5 GiB)."""
AT_ONCE = 2**22


class Cells:
    """The pairs (s, s') that have a reward, row by row, and the rewards.

    begins: [S + 1], where each row begins; after: [C], s' of each cell, in order within its row; numbers: [C, O], by
    observation, or [C, 1] where it does not matter.
    """

    def __init__(self, begins: np.ndarray, after: np.ndarray, width: int) -> None:
        self.begins, self.after = begins, after
        self.numbers = np.zeros((len(after), width))

    def at(self, state: Element, after: Element) -> slice | np.ndarray:
        """Which cells these are."""
        if isinstance(after, slice):
            return EVERY if isinstance(state, slice) else slice(self.begins[state], self.begins[state + 1])
        if isinstance(state, slice):
            order, begins = self._by_column
            return order[begins[after] : begins[after + 1]]
        begin = int(self.found(np.array([state]), np.array([after]))[0])
        return slice(max(begin, 0), begin + 1)

    def found(self, state: np.ndarray, after: np.ndarray) -> np.ndarray:
        """[N]: where these pairs stand, -1 for one that has no reward."""
        keys, wanted = self._keys, state * len(self.begins) + after
        place = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
        return np.where(keys[place] == wanted, place, -1)

    @cached_property
    def _keys(self) -> np.ndarray:
        state = np.repeat(np.arange(len(self.begins) - 1), np.diff(self.begins))
        return state * len(self.begins) + self.after

    @cached_property
    def _by_column(self) -> tuple[np.ndarray, np.ndarray]:
        order = np.argsort(self.after, kind="stable")
        return order, np.searchsorted(self.after[order], np.arange(len(self.begins)))


class Entry(Protocol):
    """`R` as it is written: of which actions, with which keyword, whether by observation, into the cells of one."""

    @property
    def keyword(self) -> Token: ...

    def actions(self, count: int) -> Sequence[int]: ...

    def depends_on_observation(self, count: int) -> bool: ...

    def write(self, action: int, cells: Cells) -> None: ...


@dataclass(frozen=True)
class Reward:
    """One entry: `values` belong to (a, s), (a, s, s') or (a, s, s', o) and have the shape of the rest."""

    where: tuple[Element, ...]
    values: np.ndarray
    keyword: Token

    def actions(self, count: int) -> Sequence[int]:
        action = self.where[0]
        return range(count) if isinstance(action, slice) else [action]

    def depends_on_observation(self, count: int) -> bool:
        if len(self.where) == 4:
            return count > 1 and self.where[3] != EVERY
        return bool((self.values != self.values[..., :1]).any())

    def write(self, action: int, cells: Cells) -> None:
        place = cells.at(self.where[1], self.where[2] if len(self.where) > 2 else EVERY)
        width = cells.numbers.shape[1]
        if len(self.where) == 4:
            cells.numbers[place, self.where[3]] = self.values
        elif len(self.where) == 3:
            cells.numbers[place] = self.values[:width]
        else:
            cells.numbers[place] = self.values[cells.after[place], :width]


@dataclass(frozen=True)
class Rewards:
    """Many entries `R: a : s : s' : * v`, in their order, all arrays [N]; after: -1 for every s'."""

    action: np.ndarray
    state: np.ndarray
    after: np.ndarray
    values: np.ndarray
    keyword: Token

    def actions(self, count: int) -> Sequence[int]:
        return [int(action) for action in np.unique(self.action)]

    def depends_on_observation(self, count: int) -> bool:
        return False

    def write(self, action: int, cells: Cells) -> None:
        mine = self.action == action
        self._write(self.state[mine], self.after[mine], self.values[mine], cells)

    def _write(self, state: np.ndarray, after: np.ndarray, values: np.ndarray, cells: Cells) -> None:
        every = after < 0
        one = np.where(every, -1, cells.found(state, after))
        begin = np.where(every, cells.begins[state], one)
        width = np.where(every, cells.begins[state + 1] - begin, one >= 0)
        if width.sum() > AT_ONCE and len(state) > 1:
            half = len(state) // 2
            self._write(state[:half], after[:half], values[:half], cells)
            self._write(state[half:], after[half:], values[half:], cells)
            return
        which = np.repeat(np.arange(len(state)), width)
        place = np.arange(len(which)) - np.repeat(width.cumsum() - width, width) + begin[which]
        # Where a cell stands twice the last number holds.
        cells.numbers[place] = values[which][:, None]


def expected_rewards(
    source: str, entries: Sequence[Entry], cells: Sequence[tuple[np.ndarray, np.ndarray]], laws: Sequence[Matrix]
) -> list[np.ndarray]:
    """By action the rewards [C] of its cells, averaged over the observation where they depend on it.

    Args: cells: by action, `begins` and `after` of `Cells`. laws: by action [S, O], the law of the observation.
    Raises: PomdpFileError where they depend on the observation and are too many, or not finite.
    """
    by_action: list[list[Entry]] = [[] for _ in cells]
    for entry in entries:
        for a in entry.actions(len(cells)):
            by_action[a].append(entry)
    return [_expected(source, a, by_action[a], *cells[a], laws[a]) for a in range(len(cells))]


def _expected(
    source: str, action: int, entries: list[Entry], begins: np.ndarray, after: np.ndarray, law: Matrix
) -> np.ndarray:
    count = law.shape[1]
    observed = next((entry for entry in entries if entry.depends_on_observation(count)), None)
    if observed is not None and len(after) * count > MAX_ENTRIES:
        problem = f"rewards on observations need an array of {len(after) * count} numbers"
        raise PomdpFileError(source, observed.keyword.line, f"{problem}; at most {MAX_ENTRIES} fit", "R")
    cells = Cells(begins, after, 1 if observed is None else count)
    for entry in entries if len(after) else ():
        entry.write(action, cells)
    # Around the first observation's reward, so that what does not depend on the observation stays exact.
    reward = cells.numbers[:, 0].copy()
    if observed is None:
        return reward
    with np.errstate(over="ignore", invalid="ignore"):
        cells.numbers -= reward[:, None]
        reward += np.einsum("co,co->c", cells.numbers, dense_matrix(law)[after])
    if not np.isfinite(reward).all():
        raise PomdpFileError(source, observed.keyword.line, "the expected reward is not finite", "R")
    return reward
