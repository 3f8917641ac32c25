"""What an agent is shown beside the observation: the time, its last reward, its last action.

A memoryless policy that sees its last action can write its memory into its actions, and one that sees the time can
count: so these are never a hidden input of an agent.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from dataclasses import replace
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array
from scipy import sparse

from seqrl_jax.tasks.environment import Box, Transition, Wrapper, everything_in
from seqrl_jax.tasks.ready import Ready
from seqrl_jax.tasks.tables import SparseTable, table_of
from seqrl_jax.tasks.tabular import TabularPOMDP, refuse_too_large, validated
from seqrl_jax.tasks.wrappers.checked import checked
from seqrl_jax.tasks.wrappers.codes import beside, code, code_space, with_more
from seqrl_jax.tasks.wrappers.marked import Outcome, Pair, distinct, outcomes, unused, with_marks

NONE = "none"


@checked
def previous_action(task: TabularPOMDP) -> TabularPOMDP:
    """The observation becomes (a_{t-1}, o_t); at the start of an episode there is no action, whatever went before.

    The best policy of the history is worth what it was: it knows what it did.
    """
    marks = [unused(NONE, task.actions), *task.actions]
    lists = task.lists
    pairs = [(mark, o) for mark, law in enumerate((lists.initial_observation, *lists.observation)) for o in _seen(law)]
    refuse_too_large(task.name, task.num_states, task.num_actions, len(pairs))
    place = {pair: index for index, pair in enumerate(pairs)}

    def marked(mark: int, law: sparse.csr_array) -> sparse.csr_array:
        columns = [place[mark, o] for o in law.indices.tolist()]
        return sparse.csr_array((law.data, columns, law.indptr), shape=(task.num_states, len(pairs)))

    names = distinct(f"{marks[mark]}|{task.observations[o]}" for mark, o in pairs)
    later = SparseTable(tuple(marked(a + 1, law) for a, law in enumerate(lists.observation)))
    return validated(
        replace(
            task,
            initial_observation=marked(0, lists.initial_observation),
            observation=later,
            observations=names,
            blank=None,
        )
    )


@checked
def previous_reward(task: TabularPOMDP) -> TabularPOMDP:
    """The observation becomes (r_{t-1}, o_t), with no reward at the start. Rewards are the expected ones of the tables,
    to nine digits: what differs by less is rounding.

    Raises: TaskError where the states, each with the rewards that can lead to it, become too many.
    """
    return _marked(task, NONE, lambda mark, reward: f"{reward + 0.0:.9g}")  # -0.0 is 0


@checked
def with_time(task: TabularPOMDP) -> TabularPOMDP:
    """The observation becomes (t, o_t).

    Raises: TaskError where the states, one for each time, become too many.
    """
    return _marked(task, 0, lambda mark, reward: min(mark + 1, task.horizon))


def _marked(task: TabularPOMDP, start: Hashable, mark_after: Callable[[Any, float], Hashable]) -> TabularPOMDP:
    """States and observations with a mark that is set by every transition, of the mark before it and the reward."""

    def follow(mark: Any, s: int, a: int) -> Iterator[Outcome]:
        for after, probability, reward in outcomes(task, s, a):
            yield Outcome((mark_after(mark, reward), after), probability, reward)

    begun = {(start, s): float(task.initial[s]) for s in np.flatnonzero(task.initial).tolist()}
    marked = with_marks(task, begun, follow)
    # The start's mark is never set again: such states are only begun in, and the others only entered.
    symbols: dict[Pair, int] = {}
    cells: dict[tuple[int, int, int], float] = {}
    lists = task.lists
    for index, (mark, s) in enumerate(marked.pairs):
        laws = [lists.initial_observation] * task.num_actions if mark == start else lists.observation
        rows = [(law.indices[row], law.data[row]) for law in laws for row in [slice(*law.indptr[s : s + 2])]]
        for o in sorted({o for seen, _ in rows for o in seen.tolist()}):
            symbols.setdefault((mark, o), len(symbols))
        for a, (seen, likely) in enumerate(rows):
            for o, p in zip(seen.tolist(), likely.tolist(), strict=True):
                cells[a, index, symbols[mark, o]] = p
        refuse_too_large(task.name, len(marked.pairs), task.num_actions, len(symbols))
    later = table_of((task.num_actions, len(marked.pairs), len(symbols)), cells)
    names = distinct(f"{mark}|{task.observations[o]}" for mark, o in symbols)
    dynamics = marked.dynamics(task, str)
    return validated(replace(dynamics, initial_observation=later[0], observation=later, observations=names, blank=None))


def _seen(law: sparse.csr_array) -> list[int]:
    """The columns that hold something, in order."""
    return sorted(set(law.indices.tolist()))


class PreviousAction(Wrapper):
    """The code of a_{t-1} stands behind that of o_t; zeros at the start of an episode."""

    @property
    def observation_space(self) -> Box:
        return with_more(code_space(self.env.observation_space), code_space(self.env.action_space))

    def reset(self, key: Array, params: Any) -> tuple[Array, Any]:
        obs, state = self.env.reset(key, params)
        return self._seen(obs, jnp.zeros(code_space(self.env.action_space).shape)), state

    def step(self, key: Array, state: Any, action: Array, params: Any) -> Transition:
        after = self.env.step(key, state, action, params)
        return after._replace(obs=self._seen(after.obs, code(action, self.env.action_space)))

    def observation_mask(self, params: Any) -> Array:
        return everything_in(self.observation_space)

    def _seen(self, obs: Array, done: Array) -> Array:
        return beside(code(obs, self.env.observation_space), done)


class PreviousReward(Wrapper):
    """r_{t-1} stands behind the code of o_t; zero at the start of an episode."""

    @property
    def observation_space(self) -> Box:
        return with_more(code_space(self.env.observation_space), Box((1,)))

    def reset(self, key: Array, params: Any) -> tuple[Array, Any]:
        obs, state = self.env.reset(key, params)
        return self._seen(obs, jnp.float32(0)), state

    def step(self, key: Array, state: Any, action: Array, params: Any) -> Transition:
        after = self.env.step(key, state, action, params)
        return after._replace(obs=self._seen(after.obs, after.reward))

    def observation_mask(self, params: Any) -> Array:
        return everything_in(self.observation_space)

    def _seen(self, obs: Array, reward: Array) -> Array:
        return beside(code(obs, self.env.observation_space), reward[None])


@checked
def previous_action_env(ready: Ready) -> Ready:
    """An environment that shows (a_{t-1}, o_t); see `PreviousAction`."""
    return Ready(PreviousAction(ready.env), ready.params)


@checked
def previous_reward_env(ready: Ready) -> Ready:
    """An environment that shows (r_{t-1}, o_t); see `PreviousReward`."""
    return Ready(PreviousReward(ready.env), ready.params)
