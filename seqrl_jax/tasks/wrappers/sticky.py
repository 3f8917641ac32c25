"""Sticky actions: with some probability what was done before is done again, whatever the agent chose.

Source: Machado et al. (2018), Revisiting the Arcade Learning Environment (there p = 0.25).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from scipy import sparse

from seqrl_jax.settings import Probability
from seqrl_jax.tasks.build import chance
from seqrl_jax.tasks.environment import Transition, zeros_in
from seqrl_jax.tasks.ready import Ready
from seqrl_jax.tasks.tables import every_action
from seqrl_jax.tasks.tabular import TabularPOMDP, validated
from seqrl_jax.tasks.wrappers.checked import checked
from seqrl_jax.tasks.wrappers.marked import Outcome, outcomes, with_marks
from seqrl_jax.tasks.wrappers.numbered import Numbered, NumberedWrapper


@checked
def sticky(task: TabularPOMDP, probability: Probability) -> TabularPOMDP:
    """With this probability the action that was executed last is executed again, else the chosen one.

    The first action of an episode is always the chosen one. Rewards and observations are those of what was executed,
    which nobody sees: states are pairs of it and the state. Raises: SpecError for a number that is no probability,
    TaskError where the states become too many.
    """
    num_actions = task.num_actions

    def follow(last: int, s: int, a: int) -> Iterator[Outcome]:
        executed = {a: 1.0} if last == num_actions else chance(probability, last, a)
        for action, likely in executed.items():
            for after, then, reward in outcomes(task, s, action):
                yield Outcome((action, after), likely * then, reward)

    # What was executed last, and behind all actions: nothing yet.
    begun = {(num_actions, s): float(task.initial[s]) for s in np.flatnonzero(task.initial).tolist()}
    marked = with_marks(task, begun, follow)
    laws = sparse.vstack([*task.lists.observation, task.lists.initial_observation], format="csr")
    law = laws[[last * task.num_states + s for last, s in marked.pairs]]
    return validated(
        replace(
            marked.dynamics(task, lambda last: (*task.actions, "none")[last]),
            initial_observation=law,
            observation=every_action(law, num_actions),
        )
    )


class StickyState(NamedTuple):
    """inner: of the wrapped environment. last: the action that was executed last. acted: whether there is one."""

    inner: Any
    last: Array
    acted: Array


class Sticky(NumberedWrapper):
    """With probability `params.number` the action executed last is executed again; the first one is always chosen."""

    def reset(self, key: Array, params: Numbered) -> tuple[Array, StickyState]:
        obs, state = self.env.reset(key, params.inner)
        return obs, StickyState(state, zeros_in(self.env.action_space), jnp.bool_(False))

    def step(self, key: Array, state: StickyState, action: Array, params: Numbered) -> Transition:
        inner_key, own_key = jax.random.split(key)
        again = state.acted & jax.random.bernoulli(own_key, params.number)
        executed = jnp.where(again, state.last, jnp.asarray(action, state.last.dtype))
        after = self.env.step(inner_key, state.inner, executed, params.inner)
        return after._replace(state=StickyState(after.state, executed, jnp.bool_(True)))


@checked
def sticky_env(ready: Ready, probability: Probability) -> Ready:
    """An environment with sticky actions; see `Sticky`."""
    return Ready(Sticky(ready.env), Numbered(ready.params, jnp.float32(probability)))
