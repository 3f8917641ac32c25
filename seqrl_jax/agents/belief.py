"""Agents that are told the belief: any agent, acting on the exact Bayes filter instead of the observation.

The belief and the time are all that a history is worth (Åström, 1965), so this is the ceiling of every method that
learns a state of its own: what is lost here is lost by the control, not by the memory. The filter reads the task's
tables, as the names of these agents say.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, NamedTuple, Self

import jax
import jax.numpy as jnp
from jax import Array

from seqrl_jax.agents.base import Agent, Policy
from seqrl_jax.tasks.environment import Box, Environment, Transition
from seqrl_jax.tasks.filter import first_belief, next_belief
from seqrl_jax.tasks.simulator import TabularEnv, TabularParams


class Believed(NamedTuple):
    """The environment's own state, and the belief [S] about it."""

    state: Any
    belief: Array


@dataclass(frozen=True)
class BeliefEnv:
    """A tabular environment that shows the share of the horizon that is over, and the belief: [1 + S]."""

    env: TabularEnv

    @property
    def num_actions(self) -> int:
        return self.env.num_actions

    @property
    def observation_space(self) -> Box:
        return Box((1 + self.env.num_states,), blocks=((1, 1), (self.env.num_states, 1)))

    @property
    def longest(self) -> int:
        return self.env.longest

    def reset(self, key: Array, params: TabularParams) -> tuple[Array, Believed]:
        obs, state = self.env.reset(key, params)
        belief = first_belief(params, obs)
        return shown(params, belief, state.time), Believed(state, belief)

    def step(self, key: Array, state: Believed, action: Array, params: TabularParams) -> Transition:
        after = self.env.step(key, state.state, action, params)
        belief = next_belief(params, state.belief, action, after.obs)
        return after._replace(obs=shown(params, belief, after.state.time), state=Believed(after.state, belief))

    def action_mask(self, params: TabularParams) -> Array:
        return self.env.action_mask(params)

    def observation_mask(self, params: TabularParams) -> Array:
        return jnp.ones(1, bool)

    def discount(self, params: TabularParams) -> Array:
        return self.env.discount(params)

    def horizon(self, params: TabularParams) -> Array:
        return self.env.horizon(params)


def shown(params: TabularParams, belief: Array, time: Array) -> Array:
    """[1 + S]: what the agent sees."""
    share = time.astype(jnp.float32) / params.horizon.astype(jnp.float32)
    return jnp.concatenate([share[None], belief])


class Filtering(NamedTuple):
    """A policy's carry: the belief before the next observation, the action since, the time, the agent's own carry."""

    belief: Array
    action: Array
    time: Array
    inner: Any


@partial(jax.tree_util.register_dataclass, data_fields=["inner"], meta_fields=[])
@dataclass(frozen=True)
class OnBelief(Agent):
    """The agent `inner`, acting and learning on beliefs. Tabular tasks only."""

    inner: Agent

    @property
    def steps_per_update(self) -> int:
        return self.inner.steps_per_update

    @property
    def memoryless(self) -> bool:
        """The belief remembers everything."""
        return False

    @property
    def marked_wrong(self) -> bool:
        return False

    @property
    def learner(self) -> Agent:
        return self.inner

    def with_learner(self, learner: Agent) -> Agent:
        return dataclasses.replace(self, inner=learner)

    @property
    def acts(self) -> Literal["greedy", "sampled"]:
        return self.inner.acts

    def for_run(self, horizon: int, steps: int) -> Self:
        return dataclasses.replace(self, inner=self.inner.for_run(horizon, steps))

    def init(self, key: Array, env: Environment, params: Any) -> Any:
        return self.inner.init(key, _believing(env), params)

    def update(self, env: Environment, params: Any, state: Any) -> tuple[Any, dict[str, Array]]:
        return self.inner.update(_believing(env), params, state)

    def policy(self, env: Environment, params: Any, state: Any) -> Policy:
        policy = self.inner.policy(_believing(env), params, state)

        def initialise() -> Filtering:
            nothing = jnp.zeros(params.terminal.shape[0])
            return Filtering(nothing, jnp.int32(0), jnp.int32(0), policy.initialise())

        def act(key: Array, carry: Filtering, obs: Array) -> tuple[Filtering, Array]:
            fresh, later = first_belief(params, obs), next_belief(params, carry.belief, carry.action, obs)
            belief = jnp.where(carry.time == 0, fresh, later)
            own, action = policy.act(key, carry.inner, shown(params, belief, carry.time))
            return Filtering(belief, action, carry.time + 1, own), action

        return Policy(initialise, act)

    def claim(self, env: Environment, params: Any, state: Any, key: Array) -> Array | None:
        return self.inner.claim(_believing(env), params, state, key)

    def alarms(self, state: Any) -> dict[str, Array]:
        return self.inner.alarms(state)


def _believing(env: Environment) -> BeliefEnv:
    if not isinstance(env, TabularEnv):
        raise ValueError("the exact belief needs a tabular task: this environment has no tables")
    return BeliefEnv(env)
