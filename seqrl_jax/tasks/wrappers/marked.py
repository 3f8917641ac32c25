"""Tables whose states carry a mark: what a wrapper has to remember of an episode."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import chain, count
from typing import Any, NamedTuple

import numpy as np

from seqrl_jax.tasks.tables import SparseTable, table_of
from seqrl_jax.tasks.tabular import TabularPOMDP, refuse_too_large

Pair = tuple[Any, int]
"""A mark and a state."""


class Outcome(NamedTuple):
    """What a transition enters, how likely it is, and what it pays."""

    pair: Pair
    probability: float
    reward: float


class Marked(NamedTuple):
    """Dynamics over pairs of a mark and a state; the tables are those of `TabularPOMDP`."""

    pairs: list[Pair]
    initial: np.ndarray
    transition: SparseTable
    reward: SparseTable
    terminal: np.ndarray

    def dynamics(self, task: TabularPOMDP, text: Callable[[Any], str]) -> TabularPOMDP:
        """`task` with these dynamics, before its observations are set. text: of a mark, in the names of states."""
        return replace(
            task,
            initial=self.initial,
            transition=self.transition,
            reward=self.reward,
            terminal=self.terminal,
            states=distinct(f"{text(mark)}|{task.states[s]}" for mark, s in self.pairs),
        )


def unused(name: str, names: Collection[str]) -> str:
    """A name that is none of these: this one, or with a number behind it."""
    numbered = (f"{name}_{number}" for number in count(2))
    return next(free for free in chain([name], numbered) if free not in names)


def distinct(names: Iterable[str]) -> tuple[str, ...]:
    """The names, one that stood before with a number behind it: of parts that hold `|`, two may join to the same."""
    taken: dict[str, None] = {}
    for name in names:
        taken[unused(name, taken)] = None
    return tuple(taken)


def outcomes(task: TabularPOMDP, s: int, a: int) -> Iterator[tuple[int, float, float]]:
    """The states that `a` may lead to from `s`, how likely they are, and what is paid on the way."""
    law, pay = task.lists.transition[a], task.lists.reward[a]
    row = slice(law.indptr[s], law.indptr[s + 1])
    yield from zip(law.indices[row].tolist(), law.data[row].tolist(), pay.data[row].tolist(), strict=True)


def with_marks(
    task: TabularPOMDP, start: Mapping[Pair, float], follow: Callable[[Any, int, int], Iterable[Outcome]]
) -> Marked:
    """The pairs that can be reached, and how.

    Args: start: the law of the first pair. follow: (mark, state, action) -> outcomes; terminal states are left alone.
    Raises: TaskError where the pairs become too many.
    """
    place = {pair: index for index, pair in enumerate(start)}
    moves: defaultdict[tuple[int, int, int], float] = defaultdict(float)
    pays: dict[tuple[int, int, int], float] = {}
    todo = list(place)
    for here, (mark, s) in enumerate(todo):
        for a in range(task.num_actions):
            stays = [Outcome((mark, s), 1.0, 0.0)]
            for pair, probability, paid in stays if task.terminal[s] else follow(mark, s, a):
                if pair not in place:
                    place[pair] = len(place)
                    todo.append(pair)
                    refuse_too_large(task.name, len(place), task.num_actions, task.num_observations)
                cell = a, here, place[pair]
                moves[cell] += probability
                pays[cell] = paid
    shape = (task.num_actions, len(place), len(place))
    initial = np.array([start.get(pair, 0.0) for pair in place])
    return Marked(todo, initial, table_of(shape, moves), table_of(shape, pays), task.terminal[[s for _, s in todo]])
