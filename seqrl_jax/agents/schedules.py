"""What changes over a run by a plan."""

from __future__ import annotations

import jax.numpy as jnp
from jax import Array


def falling(steps: Array, over: Array | float, end: Array | float) -> Array:
    """From 1 in a straight line down to `end`, which is reached after `over` steps and kept."""
    return jnp.maximum(1.0 - (1.0 - end) * steps.astype(jnp.float32) / over, end)


LAST_RATE = 0.1
"""The share of its learning rate that an agent keeps when it has been annealed."""
