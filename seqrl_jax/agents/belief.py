"""Agents that are given the belief: any agent, acting on the exact Bayes filter instead of the observation.

The belief and the time are all that a history is worth (Åström, 1965), so this is the ceiling of every method that
learns a state of its own: what is lost here is lost by the control, not by the memory. The filter reads the task's
tables, as the names of these agents say.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Annotated, Any, Literal, NamedTuple, Self

import jax.numpy as jnp
from jax import Array

from seqrl_jax.agents.base import Agent, Policy, Reads
from seqrl_jax.agents.hyperparameters import TRACED, hyperparameters
from seqrl_jax.networks.experience import StepInput
from seqrl_jax.tasks.environment import Box, Discrete, Environment, Transition, everything_in
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
    def action_space(self) -> Discrete:
        return self.env.action_space

    @property
    def observation_space(self) -> Box:
        return Box((1 + self.env.num_states,), active=2)

    @property
    def longest(self) -> int:
        return self.env.longest

    @property
    def expensive_reset(self) -> bool:
        return self.env.expensive_reset

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
        return everything_in(self.observation_space)

    def discount(self, params: TabularParams) -> Array:
        return self.env.discount(params)

    def horizon(self, params: TabularParams) -> Array:
        return self.env.horizon(params)


def shown(params: TabularParams, belief: Array, time: Array) -> Array:
    """[1 + S]: what the agent sees."""
    share = time.astype(jnp.float32) / params.horizon.astype(jnp.float32)
    return jnp.concatenate([share[None], belief])


class Filtering(NamedTuple):
    """A policy's carry: the belief before the next observation, the time, the agent's own carry."""

    belief: Array
    time: Array
    inner: Any


@hyperparameters
class OnBelief(Agent):
    """The agent `inner`, acting and learning on beliefs. Tabular tasks only."""

    inner: Annotated[Agent, TRACED]

    @property
    def steps_per_update(self) -> int:
        return self.inner.steps_per_update

    @property
    def memoryless(self) -> bool:
        """The belief remembers everything."""
        return False

    @property
    def reads(self) -> Reads:
        return Reads(None, belief=True, time=True)

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

        def initial_carry() -> Filtering:
            return Filtering(jnp.zeros(params.terminal.shape[0]), jnp.int32(0), policy.initial_carry())

        def believed(carry: Filtering, inputs: StepInput) -> tuple[Array, StepInput]:
            """The belief, and inputs that show it."""
            fresh = first_belief(params, inputs.obs)
            later = next_belief(params, carry.belief, inputs.previous_action, inputs.obs)
            belief = jnp.where(inputs.first, fresh, later)
            return belief, inputs._replace(obs=shown(params, belief, carry.time))

        def act(key: Array, carry: Filtering, inputs: StepInput) -> tuple[Filtering, Array]:
            belief, read = believed(carry, inputs)
            inner, action = policy.act(key, carry.inner, read)
            return Filtering(belief, carry.time + 1, inner), action

        inner_value = policy.value
        if inner_value is None:
            return Policy(initial_carry, act)
        return Policy(
            initial_carry, act, lambda key, carry, inputs: inner_value(key, carry.inner, believed(carry, inputs)[1])
        )

    def claim(self, env: Environment, params: Any, state: Any, key: Array) -> Array | None:
        return self.inner.claim(_believing(env), params, state, key)

    def alarms(self, state: Any) -> dict[str, Array]:
        return self.inner.alarms(state)


def _believing(env: Environment) -> BeliefEnv:
    if not isinstance(env, TabularEnv):
        raise ValueError("the exact belief needs a tabular task: this environment has no tables")
    return BeliefEnv(env)
