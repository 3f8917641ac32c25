"""Experience: steps of B environments, with what belongs to which episode made explicit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from seqrl_jax import estimators
from seqrl_jax.tasks.environment import Environment, auto_reset


class StepInput(NamedTuple):
    """What an agent is given at a step: o_t, whether it begins an episode, and a_{t-1}, which means nothing if so.

    Arrays [..., *O], [...] bool and [...] int32.
    """

    obs: Array
    first: Array
    previous: Array


class Rollout(NamedTuple):
    """T steps of B environments that start again when an episode ends; every field is [T, B, ...].

    obs: o_t. previous: a_{t-1}. action: a_t. reward: r_t. terminated, truncated: how step t ended its episode, if it
    did. next_obs: the observation that really followed step t, also at an episode's end. time: steps that the episode
    had seen before t, so `time == 0` marks o_t as a first observation. state: the environment's hidden state behind
    o_t, for the agents whose name says that they look.
    """

    obs: Array
    previous: Array
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
    def seen(self) -> StepInput:
        return StepInput(self.obs, self.first, self.previous)

    @property
    def last(self) -> Array:
        return self.terminated | self.truncated

    def experience(self, magnitude: Magnitude) -> Experience:
        """What a model learns from."""
        return Experience(self.seen, self.action, self.reward / magnitude.reward, self.terminated)


class Position(NamedTuple):
    """Where B environments and the agent's memories of them stand between two rollouts; all [B, ...].

    obs: what is seen now. previous: the action before. state: of the environments. time: steps into the episode.
    memory: the carry before `obs`.
    """

    obs: Array
    previous: Array
    state: Any
    time: Array
    memory: Any


class Experience(NamedTuple):
    """What a model of the world learns from: what was seen, done, paid (in units of the largest return) and ended."""

    seen: StepInput
    action: Array
    reward: Array
    terminated: Array


Act = Callable[[Array, Any, StepInput], tuple[Any, Array]]
"""(key, memory, what is seen [B]) -> memory, actions [B]."""


def begin(key: Array, env: Environment, params: Any, num_envs: int, memory: Any) -> Position:
    """Reset B environments, beside carries [B, ...] that have seen nothing."""
    obs, state = jax.vmap(env.reset, in_axes=(0, None))(jax.random.split(key, num_envs), params)
    nothing = jnp.zeros(num_envs, jnp.int32)
    return Position(obs, nothing, state, nothing, memory)


def collect(
    key: Array, env: Environment, params: Any, position: Position, act: Act, length: int
) -> tuple[Position, Rollout]:
    """Run `length` steps of every environment: where they stand after, and the steps.

    The memory is told which observations begin an episode, and has to clear itself there.
    """
    restarting = auto_reset(env)
    num_envs = position.time.shape[0]

    def step(position: Position, key: Array) -> tuple[Position, Rollout]:
        act_key, env_key = jax.random.split(key)
        memory, action = act(act_key, position.memory, StepInput(position.obs, position.time == 0, position.previous))
        after = jax.vmap(restarting.step, in_axes=(0, 0, 0, None))(
            jax.random.split(env_key, num_envs), position.state, action, params
        )
        ended = after.terminated | after.truncated
        seen = Rollout(
            obs=position.obs,
            previous=position.previous,
            action=action,
            reward=after.reward,
            terminated=after.terminated,
            truncated=after.truncated,
            next_obs=after.info["last_obs"],
            time=position.time,
            state=position.state,
        )
        return Position(after.obs, action, after.state, jnp.where(ended, 0, position.time + 1), memory), seen

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


def measured(before: Magnitude, rollout: Rollout, discount: Array) -> Magnitude:
    """The magnitude after another rollout; its returns are those from any step on."""
    to_go = estimators.reward_to_go(rollout.reward, jnp.where(rollout.last, 0.0, discount))
    largest = lambda old, seen: jnp.maximum(old, jnp.max(jnp.abs(seen)))
    return Magnitude(largest(before.reward, rollout.reward), largest(before.value, to_go))
