"""What agents share whose policy is read off action values."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from seqrl_jax.agents.network import HistoryNetwork, step
from seqrl_jax.agents.rollout import first_inputs
from seqrl_jax.networks.distributions import masked, uniform
from seqrl_jax.networks.module import Weights
from seqrl_jax.tasks.environment import Environment

CLAIM_RESETS = 1000


def greedy(q: Array, action_mask: Array) -> Array:
    """The best action [...] of q [..., A], the first of equals, as int32."""
    return jnp.argmax(masked(q, action_mask), -1).astype(jnp.int32)


def best(q: Array, action_mask: Array) -> Array:
    """The value [...] of the best action, of q [..., A]."""
    return jnp.max(masked(q, action_mask), -1)


def of_action(table: Array, action: Array) -> Array:
    """The entries [...] of [..., A] at these actions [...]."""
    return jnp.take_along_axis(table, action[..., None], -1)[..., 0]


def mean_over_actions(q: Array, action_mask: Array) -> Array:
    """The mean, a scalar, of q [..., A] over all that precedes and over the actions that the task has."""
    return jnp.mean(jnp.sum(q * uniform(action_mask).probs, -1))


def first_observations(env: Environment, params: Any, key: Array) -> Array:
    """[CLAIM_RESETS, *O]: as many first observations, drawn from the environment."""
    return jax.vmap(env.reset, in_axes=(0, None))(jax.random.split(key, CLAIM_RESETS), params)[0]


def outputs_at_start(network: HistoryNetwork, weights: Weights, env: Environment, params: Any, key: Array) -> Array:
    """[CLAIM_RESETS, outputs] at as many first observations."""
    inputs = first_inputs(env, first_observations(env, params, key), CLAIM_RESETS)
    return step(network, weights, network.memory.initial_carry(CLAIM_RESETS), inputs)[1]
