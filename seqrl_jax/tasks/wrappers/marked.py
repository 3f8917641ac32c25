"""Tables whose states carry a mark: what a wrapper has to remember of an episode."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from seqrl_jax.tasks.tabular import TabularPOMDP, refuse_too_large

Pair = tuple[Any, int]
"""A mark and a state."""


class Outcome(NamedTuple):
    """What a transition enters, how likely it is, and what it pays."""

    pair: Pair
    probability: float
    reward: float


class Marked(NamedTuple):
    """Dynamics over pairs of a mark and a state; the arrays are those of `TabularPOMDP`."""

    pairs: list[Pair]
    initial: np.ndarray
    transition: np.ndarray
    reward: np.ndarray
    terminal: np.ndarray

    def dynamics(self, task: TabularPOMDP, text: Callable[[Any], str]) -> TabularPOMDP:
        """`task` with these dynamics, before its observations are set. text: of a mark, in the names of states."""
        return replace(
            task,
            initial=self.initial,
            transition=self.transition,
            reward=self.reward,
            terminal=self.terminal,
            states=tuple(f"{text(mark)}|{task.states[s]}" for mark, s in self.pairs),
        )


def outcomes(task: TabularPOMDP, s: int, a: int) -> Iterator[tuple[int, float, float]]:
    """The states that `a` may lead to from `s`, how likely they are, and what is paid on the way."""
    for after in np.flatnonzero(task.transition[a, s]).tolist():
        yield after, float(task.transition[a, s, after]), float(task.reward[a, s, after])


def with_marks(
    task: TabularPOMDP, start: Mapping[Pair, float], follow: Callable[[Any, int, int], Iterable[Outcome]]
) -> Marked:
    """The pairs that can be reached, and how.

    Args: start: the law of the first pair. follow: (mark, state, action) -> outcomes; terminal states are left alone.
    Raises: TaskError where the pairs become too many.
    """
    place = {pair: index for index, pair in enumerate(start)}
    steps: list[tuple[int, int, int, float, float]] = []
    todo = list(place)
    for here, (mark, s) in enumerate(todo):
        for a in range(task.num_actions):
            stays = [Outcome((mark, s), 1.0, 0.0)]
            for pair, probability, paid in stays if task.terminal[s] else follow(mark, s, a):
                if pair not in place:
                    place[pair] = len(place)
                    todo.append(pair)
                    refuse_too_large(task.name, len(place), task.num_actions, task.num_observations)
                steps.append((a, here, place[pair], probability, paid))
    transition = np.zeros((task.num_actions, len(place), len(place)))
    reward = np.zeros_like(transition)
    for a, here, there, probability, paid in steps:
        transition[a, here, there] += probability
        reward[a, here, there] = paid
    initial = np.array([start.get(pair, 0.0) for pair in place])
    return Marked(todo, initial, transition, reward, task.terminal[[s for _, s in todo]])
