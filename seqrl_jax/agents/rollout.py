"""Experience: steps of B environments, with what belongs to which episode made explicit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from seqrl_jax import estimators
from seqrl_jax.networks.experience import Experience, StepInput
from seqrl_jax.tasks.environment import Environment, auto_reset, zeros_in


class Rollout(NamedTuple):
    """T steps of B environments that start again when an episode ends; every field is [T, B, ...].

    obs: o_t. previous_action, previous_reward: a_{t-1}, r_{t-1}. action: a_t. reward: r_t. terminated, truncated: how
    step t ended its episode, if it did. next_obs: the observation that really followed step t, also at an episode's
    end. time: steps that the episode had before t, so `time == 0` marks o_t as a first observation. state: the
    environment's hidden state behind o_t, for the agents whose name says that they look.
    """

    obs: Array
    previous_action: Array
    previous_reward: Array
    action: Array
    reward: Array
    terminated: Array
    truncated: Array
    next_obs: Array
    time: Array
    state: Any

    @property
    def first(self) -> Array:
        return self.time == 0

    @property
    def inputs(self) -> StepInput:
        """What the agent was given."""
        return StepInput(self.obs, self.first, self.previous_action, self.previous_reward)

    @property
    def next_inputs(self) -> StepInput:
        """What it would be given after each step if no episode ended there."""
        return StepInput(self.next_obs, jnp.zeros_like(self.first), self.action, self.reward)

    @property
    def last(self) -> Array:
        return self.terminated | self.truncated

    def experience(self, magnitude: Magnitude) -> Experience:
        """What a model learns from."""
        return Experience(self.inputs, self.action, self.reward / magnitude.reward, self.terminated)


class Position(NamedTuple):
    """Where B environments and the agent stand between two rollouts; all [B, ...].

    inputs: what the agent is given next. state: of the environments. time: steps into the episode. carry: the agent's,
    before `inputs`.
    """

    inputs: StepInput
    state: Any
    time: Array
    carry: Any


Act = Callable[[Array, Any, StepInput], tuple[Any, Array]]
"""(key, carry, inputs [B]) -> carry, actions [B]."""


def begin(key: Array, env: Environment, params: Any, num_envs: int, carry: Any) -> Position:
    """Reset B environments, beside carries [B, ...] that have read nothing."""
    obs, state = jax.vmap(env.reset, in_axes=(0, None))(jax.random.split(key, num_envs), params)
    return Position(first_inputs(env, obs, num_envs), state, jnp.zeros(num_envs, jnp.int32), carry)


def first_inputs(env: Environment, obs: Array, *batch: int) -> StepInput:
    """What an agent is given of first observations [*batch, *O]."""
    return StepInput(obs, jnp.ones(batch, bool), zeros_in(env.action_space, *batch), jnp.zeros(batch))


def collect(
    key: Array, env: Environment, params: Any, position: Position, act: Act, length: int
) -> tuple[Position, Rollout]:
    """Run `length` steps of every environment: where they stand after, and the steps.

    The agent is given which observations begin an episode, and has to clear its carry there.
    """
    restarting = auto_reset(env)
    num_envs = position.time.shape[0]

    def step(position: Position, key: Array) -> tuple[Position, Rollout]:
        act_key, env_key = jax.random.split(key)
        obs, _, previous_action, previous_reward = position.inputs
        carry, action = act(act_key, position.carry, position.inputs)
        after = jax.vmap(restarting.step, in_axes=(0, 0, 0, None))(
            jax.random.split(env_key, num_envs), position.state, action, params
        )
        ended = after.terminated | after.truncated
        made = Rollout(
            obs=obs,
            previous_action=previous_action,
            previous_reward=previous_reward,
            action=action,
            reward=after.reward,
            terminated=after.terminated,
            truncated=after.truncated,
            next_obs=after.info["last_obs"],
            time=position.time,
            state=position.state,
        )
        inputs = StepInput(after.obs, ended, action, after.reward)
        return Position(inputs, after.state, jnp.where(ended, 0, position.time + 1), carry), made

    return jax.lax.scan(step, position, jax.random.split(key, length))


def surely_complete(rollout: Rollout, horizon: Array) -> Array:
    """[T, B] bool: steps of episodes that began early enough to end inside the rollout, whatever happened in them.

    Choosing episodes by when they *began* leaves their law untouched; choosing those that happened to end would favour
    short ones. The rollout has to start with fresh episodes.
    """
    length = rollout.time.shape[0]
    began = jnp.arange(length)[:, None] - rollout.time
    return began + horizon <= length


def bootstrap_discount(rollout: Rollout, discount: Array, bootstrap_truncated: bool) -> Array:
    """[T, B]: what multiplies the value after step t: 0 after termination, and at the horizon unless asked otherwise.

    The horizon is part of a task's objective, so nothing is earned beyond it; with `bootstrap_truncated` the horizon
    counts as a limit of the experiment and not of the task, and the value of the real last observation stands in for
    what would have followed (Pardo et al., 2018).
    """
    ends = rollout.terminated if bootstrap_truncated else rollout.last
    return jnp.where(ends, 0.0, discount)


class Magnitude(NamedTuple):
    """What numbers of a run are measured in. reward: the largest absolute reward so far. value: the largest return.

    Tasks pay from hundredths to hundreds, once or at every step, and one set of hyperparameters has to serve them all.
    A network whose targets are many times its outputs saturates before it has learned anything. They only grow, and
    settle early, so that what was learned keeps its meaning.
    """

    reward: Array
    value: Array


def no_magnitude() -> Magnitude:
    """The magnitude before the first rollout."""
    return Magnitude(jnp.float32(1e-6), jnp.float32(1e-6))


def transposed(rollout: Rollout) -> Rollout:
    """[T, B, ...] of [B, T, ...], as sequences are kept, and the other way round."""
    return jax.tree.map(lambda leaf: leaf.swapaxes(0, 1), rollout)


def measured(before: Magnitude, rollout: Rollout, discount: Array) -> Magnitude:
    """The magnitude after another rollout [T, B]; its returns are those from any step on."""
    to_go = estimators.reward_to_go(rollout.reward, jnp.where(rollout.last, 0.0, discount))
    largest = lambda old, seen: jnp.maximum(old, jnp.max(jnp.abs(seen)))
    return Magnitude(largest(before.reward, rollout.reward), largest(before.value, to_go))
