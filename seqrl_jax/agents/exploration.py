"""Exploration that holds on: a random action is repeated for a random number of steps."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from seqrl_jax.agents.networks import draw, uniform


class ActionRepeat(NamedTuple):
    """The random action [B] that is being repeated, and for how many more steps [B]; 0 where there is none."""

    action: Array
    left: Array


class Acting(NamedTuple):
    """What an exploring agent carries: its memory's carry, and its repeat."""

    carry: Any
    repeat: ActionRepeat


def no_repeat(batch: int) -> ActionRepeat:
    """Of B environments that are about to begin."""
    return ActionRepeat(jnp.zeros(batch, jnp.int32), jnp.zeros(batch, jnp.int32))


def explore(
    key: Array, repeat: ActionRepeat, first: Array, own: Array, action_mask: Array, epsilon: Array | float
) -> tuple[ActionRepeat, Array]:
    """epsilon-z-greedy: with probability epsilon begin to repeat a random action, n times with P(n >= k) = 1 / k.

    One random step leads nowhere in a corridor; a few in the same direction do. Plain epsilon-greedy is n = 1.

    Args: first: [B] bool, where the repeat of an earlier episode ends. own: [B], the actions of the policy itself.
    Returns: the repeat, and the actions [B]. Source: Dabney, Ostrovski & Barreto (2021), algorithm 1, with mu = 2.
    """
    begin_key, action_key, length_key = jax.random.split(key, 3)
    left = jnp.where(first, 0, repeat.left)
    begins = (left == 0) & (jax.random.uniform(begin_key, own.shape) < epsilon)
    chosen = draw(action_key, jnp.broadcast_to(uniform(action_mask), (*own.shape, action_mask.shape[-1])))
    length = jnp.floor(1 / jax.random.uniform(length_key, own.shape, minval=1e-4)).astype(jnp.int32)
    action = jnp.where(begins, chosen, repeat.action)
    left = jnp.where(begins, length, left)
    return ActionRepeat(action, jnp.maximum(left - 1, 0)), jnp.where(left > 0, action, own)
