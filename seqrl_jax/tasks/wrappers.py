"""Tasks that show more than the observation: another task each, with certified values of its own.

What an agent is shown changes what it can do. A memoryless policy that sees its last action can write its memory into
its actions, and one that sees the time can count: so these are never a hidden input of an agent.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import replace
from typing import Any

import numpy as np

from seqrl_jax.tasks.tabular import TabularPOMDP, refuse_too_large, validated


def previous_action(task: TabularPOMDP) -> TabularPOMDP:
    """The observation becomes (a_{t-1}, o_t); at the start of an episode there is no action, whatever went before.

    The best policy of the history is worth what it was: it knows what it did.
    """
    marks = ["none", *task.actions]
    seen = {(0, o) for o in np.flatnonzero(task.initial_observation.any(0))}
    seen |= {(a + 1, o) for a in range(task.num_actions) for o in np.flatnonzero(task.observation[a].any(0))}
    pairs = sorted(seen)
    refuse_too_large(task.name, task.num_states, task.num_actions, len(pairs))
    place = {pair: index for index, pair in enumerate(pairs)}
    first = np.zeros((task.num_states, len(pairs)))
    later = np.zeros((task.num_actions, task.num_states, len(pairs)))
    for (mark, o), index in place.items():
        if mark:
            later[mark - 1, :, index] = task.observation[mark - 1, :, o]
        else:
            first[:, index] = task.initial_observation[:, o]
    names = tuple(f"{marks[mark]}|{task.observations[o]}" for mark, o in pairs)
    return validated(replace(task, initial_observation=first, observation=later, observations=names))


def previous_reward(task: TabularPOMDP) -> TabularPOMDP:
    """The observation becomes (r_{t-1}, o_t), with no reward at the start. Rewards are the expected ones of the tables.

    Raises: TaskError where the states, each with the rewards that can lead to it, become too many.
    """
    return _marked(
        task,
        "none",
        lambda mark, a, s, after: float(task.reward[a, s, after]),
        lambda mark: mark if isinstance(mark, str) else f"{mark:g}",
    )


def with_time(task: TabularPOMDP) -> TabularPOMDP:
    """The observation becomes (t, o_t).

    Raises: TaskError where the states, one for each time, become too many.
    """
    return _marked(task, 0, lambda mark, a, s, after: min(mark + 1, task.horizon), str)


def _marked(
    task: TabularPOMDP,
    start: Hashable,
    follow: Callable[[Any, int, int, int], Hashable],
    text: Callable[[Any], str],
) -> TabularPOMDP:
    """States and observations with a mark that is set by every transition; only what can be reached is kept."""
    pairs: dict[tuple[Any, int], int] = {}
    for s in np.flatnonzero(task.initial).tolist():
        pairs[start, s] = len(pairs)
    steps: list[tuple[int, int, int, float, float]] = []
    todo = list(pairs)
    for mark, s in todo:
        for a in range(task.num_actions):
            for after in np.flatnonzero(task.transition[a, s]).tolist():
                pair = (mark if task.terminal[s] else follow(mark, a, s, after), after)
                if pair not in pairs:
                    pairs[pair] = len(pairs)
                    todo.append(pair)
                    refuse_too_large(task.name, len(pairs), task.num_actions, task.num_observations)
                there = pairs[pair]
                steps.append((a, pairs[mark, s], there, task.transition[a, s, after], task.reward[a, s, after]))
    size = len(pairs)
    transition = np.zeros((task.num_actions, size, size))
    reward = np.zeros_like(transition)
    for a, here, there, chance, paid in steps:
        transition[a, here, there], reward[a, here, there] = chance, paid
    # The start's mark is never set again: such states are only begun in, and the others only entered.
    laws = {
        pair: np.broadcast_to(task.initial_observation[pair[1]], task.observation[:, 0].shape)
        if pair[0] == start
        else task.observation[:, pair[1]]
        for pair in pairs
    }
    symbols: dict[tuple[Any, int], int] = {}
    for (mark, _), law in laws.items():
        for o in np.flatnonzero(law.any(0)).tolist():
            symbols.setdefault((mark, o), len(symbols))
    refuse_too_large(task.name, size, task.num_actions, len(symbols))
    later = np.zeros((task.num_actions, size, len(symbols)))
    for (mark, s), law in laws.items():
        for o in np.flatnonzero(law.any(0)).tolist():
            later[:, pairs[mark, s], symbols[mark, o]] = law[:, o]
    return validated(
        replace(
            task,
            initial=np.array([task.initial[s] if mark == start else 0.0 for mark, s in pairs]),
            initial_observation=later[0],
            transition=transition,
            observation=later,
            reward=reward,
            terminal=task.terminal[[s for _, s in pairs]],
            states=tuple(f"{text(mark)}|{task.states[s]}" for mark, s in pairs),
            observations=tuple(f"{text(mark)}|{task.observations[o]}" for mark, o in symbols),
        )
    )
