"""The law of the next action, as a network's outputs say it.

Numbered actions get logits. Continuous ones get a normal law for each number of the action: its mean, and the logarithm
of its deviation. It is not squashed into the range, so that entropies and the ratios of PPO are known in closed form;
the environment takes what lies beyond an end of the range for the end.
"""

from __future__ import annotations

import math

import distrax
import jax.numpy as jnp
from jax import Array

from seqrl_jax.networks.distributions import Categorical, masked_categorical
from seqrl_jax.tasks.environment import Discrete, Space

FIRST_LOG_DEVIATION = -0.5
"""With outputs of zero most actions lie inside their range, and reach its ends."""
LOG_DEVIATIONS = (-5.0, 2.0)


def law_size(space: Space) -> int:
    """How many outputs say a law over actions of this space."""
    return space.size if isinstance(space, Discrete) else 2 * math.prod(space.shape)


def action_law(space: Space, out: Array, mask: Array) -> Categorical | distrax.Independent:
    """The law over actions [..., *shape of one] by outputs [..., law_size].

    Args: mask: of the numbered actions that the task has (see `Environment.action_mask`).
    """
    if isinstance(space, Discrete):
        return masked_categorical(out, mask)
    mean, log_deviation = (half.reshape(*out.shape[:-1], *space.shape) for half in jnp.split(out, 2, -1))
    deviation = jnp.exp(jnp.clip(log_deviation + FIRST_LOG_DEVIATION, *LOG_DEVIATIONS))
    return distrax.Independent(distrax.Normal(mean, deviation), len(space.shape))
