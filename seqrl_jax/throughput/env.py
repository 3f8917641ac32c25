"""How fast environments step."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from seqrl_jax.tasks.environment import Discrete, Environment, Space, auto_reset
from seqrl_jax.throughput.measure import Program, on_each, share_of


def random_policy_rollout(env: Environment, params: Any, batch: int, steps: int, devices: int = 1) -> Program:
    """`steps` steps of `batch` environments under uniformly random actions, starting again when an episode ends."""
    restarting = auto_reset(env)

    def reset(keys: Array) -> tuple[Array, Any]:
        return jax.vmap(restarting.reset, in_axes=(0, None))(keys, params)

    def step(keys: Array, state: Any, action: Array) -> tuple[Array, Any, Array]:
        after = jax.vmap(restarting.step, in_axes=(0, 0, 0, None))(keys, state, action, params)
        return after.obs, after.state, after.reward

    return rollout(reset, step, partial(uniform_actions, env.action_space), batch, steps, devices)


def uniform_actions(space: Space, key: Array, batch: int) -> Array:
    """[batch, ...]: any action of a space, each as likely as any other."""
    if isinstance(space, Discrete):
        return (jax.random.uniform(key, (batch,)) * space.size).astype(jnp.int32)
    return jax.random.uniform(key, (batch, *space.shape), minval=-1.0, maxval=1.0)


def rollout(
    reset: Callable[[Array], tuple[Array, Any]],
    step: Callable[[Array, Any, Array], tuple[Array, Any, Array]],
    draw: Callable[[Array, int], Array],
    batch: int,
    steps: int,
    devices: int = 1,
) -> Program:
    """The loop that every environment is measured in.

    Args: reset: keys [B] -> (obs, state). step: (keys [B], state, actions [B]) -> (obs, state, reward [B]). draw: (key,
        B) -> actions [B].
    Returns: a program whose result depends on every observation and reward, so that none of them is optimised away.
    Raises: ValueError, if the batch does not divide over the devices.
    """
    here = share_of(batch, devices)

    def one(carry: tuple[Any, Array], key: Array) -> tuple[tuple[Any, Array], None]:
        state, total = carry
        act_key, env_key = jax.random.split(key)
        obs, state, reward = step(jax.random.split(env_key, here), state, draw(act_key, here))
        return (state, total + reward.sum() + obs.sum().astype(jnp.float32)), None

    def run(key: Array) -> Array:
        reset_key, run_key = jax.random.split(key)
        obs, state = reset(jax.random.split(reset_key, here))
        start = (state, obs.sum().astype(jnp.float32))
        return jax.lax.scan(one, start, jax.random.split(run_key, steps))[0][1]

    return Program(on_each(run, devices), batch, batch * steps, devices)
