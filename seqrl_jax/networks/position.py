"""Where in its episode a step stands."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import Array


def times(start: Array, first: Array) -> Array:
    """Steps since the episode began, [T, B] int32.

    Args: start: [B], the time of the step at t = 0 unless it is a first one. first: [T, B] bool.
    """
    steps = jnp.arange(first.shape[0], dtype=jnp.int32)[:, None]
    began = jax.lax.cummax(jnp.where(first, steps, -1), axis=0)
    return jnp.where(began < 0, start + steps, steps - began)


def sinusoids(time: Array, width: int) -> Array:
    """Codes [..., width] of times [...]: sines and cosines of geometric wavelengths from 2 pi to 1,000 times that.

    Source: Vaswani et al. (2017), sec. 3.5.
    """
    half = width // 2
    rate = jnp.exp(-jnp.log(1000.0) * jnp.arange(half, dtype=float) / max(half - 1, 1))
    angle = time[..., None].astype(rate.dtype) * rate
    return jnp.concatenate([jnp.sin(angle), jnp.cos(angle), jnp.zeros((*time.shape, width - 2 * half))], -1)
