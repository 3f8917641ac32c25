"""What agents share whose policy is read off action values."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from seqrl_jax.agents.history import HistoryFunction
from seqrl_jax.agents.networks import masked, uniform
from seqrl_jax.agents.rollout import StepInput
from seqrl_jax.tasks.environment import Environment

CLAIM_RESETS = 1000


def greedy(q: Array, action_mask: Array) -> Array:
    """The best action [...] of q [..., A], the first of equals, as int32."""
    return jnp.argmax(masked(q, action_mask), -1).astype(jnp.int32)


def mean_over_actions(q: Array, action_mask: Array) -> Array:
    """The mean, a scalar, of q [..., A] over all that precedes and over the actions that the task has."""
    return jnp.mean(jnp.sum(q * uniform(action_mask), -1))


def greedy_table(q: Array, action_mask: Array) -> Array:
    """[O, A]: probability 1 on the best action of each row, the first of equals."""
    return jax.nn.one_hot(greedy(q, action_mask), q.shape[-1])


def outputs_at_start(function: HistoryFunction, weights: Any, env: Environment, params: Any, key: Array) -> Array:
    """[CLAIM_RESETS, outputs] at as many first observations, drawn from the environment."""
    obs, _ = jax.vmap(env.reset, in_axes=(0, None))(jax.random.split(key, CLAIM_RESETS), params)
    memory = function.initialise(weights, CLAIM_RESETS)
    seen = StepInput(obs, jnp.ones(CLAIM_RESETS, bool), jnp.zeros(CLAIM_RESETS, jnp.int32))
    return function.step(weights, memory, seen)[1]
