"""The last observations of an episode, kept: what a late sensor and a stack of frames are made of.

Nothing of an earlier episode is kept; where an episode is younger, a blank stands for what was not there yet.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import Array

from seqrl_jax.tasks.environment import Transition, Wrapper
from seqrl_jax.tasks.tables import every_action, row_numbers, table_of
from seqrl_jax.tasks.tabular import TabularPOMDP, refuse_too_large, validated
from seqrl_jax.tasks.wrappers.blank import names_with_blank
from seqrl_jax.tasks.wrappers.marked import Outcome, distinct, outcomes, with_marks

Frames = tuple[int, ...]
"""Numbers of observations, the oldest first."""


def with_recent(task: TabularPOMDP, before: int, shown: Callable[[Frames], Frames]) -> TabularPOMDP:
    """States hold o_t and the `before` observations before it, and `shown` of these together are the observation.

    Raises: TaskError where the states become too many.
    """
    names, blank = names_with_blank(task)
    nothing = names.index(blank)
    # No episode has more observations; one blank more stands for any number of them.
    before = min(before, task.horizon + 1)

    def follow(frames: Frames, s: int, a: int) -> Iterator[Outcome]:
        for after, then, reward in outcomes(task, s, a):
            law = task.lists.observation[a]
            row = slice(law.indptr[after], law.indptr[after + 1])
            for o, p in zip(law.indices[row].tolist(), law.data[row].tolist(), strict=True):
                yield Outcome(((*frames[1:], o), after), then * p, reward)

    joint = task.lists.initial_observation
    state, mass = row_numbers(joint), task.initial[row_numbers(joint)] * joint.data
    first = (nothing,) * before
    begun = zip(state.tolist(), joint.indices.tolist(), mass.tolist(), strict=True)
    marked = with_marks(task, {((*first, o), s): p for s, o, p in begun if p}, follow)
    symbols = sorted({shown(frames) for frames, _ in marked.pairs})
    refuse_too_large(task.name, len(marked.pairs), task.num_actions, len(symbols))
    place = {symbol: index for index, symbol in enumerate(symbols)}
    certain = {(0, index, place[shown(frames)]): 1.0 for index, (frames, _) in enumerate(marked.pairs)}
    law = table_of((1, len(marked.pairs), len(symbols)), certain)[0]

    def text(frames: Frames) -> str:
        return "|".join(names[o] for o in frames)

    observations = distinct(map(text, symbols))
    return validated(
        replace(
            marked.dynamics(task, text),
            initial_observation=law,
            observation=every_action(law, task.num_actions),
            observations=observations,
            blank=next((name for name, seen in zip(observations, symbols, strict=True) if {*seen} == {nothing}), None),
        )
    )


class RecentState(NamedTuple):
    """inner: of the wrapped environment. frames: [before, ...], what it showed before now, the oldest first."""

    inner: Any
    frames: Array


@dataclass(frozen=True)
class Recent(Wrapper):
    """An environment whose state holds `before` frames of the episode beside the newest one."""

    before: int

    def reset(self, key: Array, params: Any) -> tuple[Array, RecentState]:
        obs, state = self.env.reset(key, params)
        blank = self._blank()
        return self._entered(obs, RecentState(state, jnp.broadcast_to(blank, (self.before, *blank.shape))))

    def step(self, key: Array, state: RecentState, action: Array, params: Any) -> Transition:
        after = self.env.step(key, state.inner, action, params)
        obs, entered = self._entered(after.obs, RecentState(after.state, state.frames))
        return after._replace(obs=obs, state=entered)

    def _entered(self, obs: Array, state: RecentState) -> tuple[Array, RecentState]:
        frames = jnp.concatenate([state.frames, self._frame(obs)[None]])
        return self._shown(frames), state._replace(frames=frames[1:])

    def _frame(self, obs: Array) -> Array:
        """What is kept of an observation."""
        raise NotImplementedError

    def _blank(self) -> Array:
        """A frame that stands for none."""
        raise NotImplementedError

    def _shown(self, frames: Array) -> Array:
        """The observation, of [before + 1, ...] frames."""
        raise NotImplementedError
