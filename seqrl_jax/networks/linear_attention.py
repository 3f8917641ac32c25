"""Attention without a softmax, whose past is a matrix of a fixed size."""

from __future__ import annotations

import flax.linen as nn
import jax.numpy as jnp
from jax import Array

from seqrl_jax.networks.chunks import Arrays, LinearChunk, MatrixMemory, advance, attended, spans
from seqrl_jax.networks.layers import DENSE_INIT, Codes, Dense, InputDense
from seqrl_jax.networks.position import sinusoids, times
from seqrl_jax.networks.readout import Readout


class LinearAttention(MatrixMemory):
    """Attention whose weights are products of positive features: its whole past is one matrix per head.

    `S' = S + phi(k) v^T`, `n' = n + phi(k)`, `y = gelu(C [S^T phi(q) / (n . phi(q)), x])` with phi = elu + 1. Keys and
    queries see the input and the time since the episode began, for a sum over the past has no order.
    Carry: ([S, n] [B, heads, D, D + 1], time [B]).
    Source: Katharopoulos et al. (2020), eq. 9-11 and 16-20.
    """

    @nn.nowrap
    def initial_carry(self, batch: int) -> tuple[Array, Array]:
        return jnp.zeros((batch, self.heads, self.size, self.size + 1)), jnp.zeros(batch, jnp.int32)

    @nn.compact
    def unroll(self, carry: tuple[Array, Array], xs: Codes, firsts: Array) -> tuple[tuple[Array, Array], Array]:
        sums, time = carry
        time_t = times(time, firsts)
        projected = InputDense(3 * self.width, use_bias=False, name="projection")(xs)
        query_key, value = jnp.split(projected, [2 * self.width], -1)
        place = Dense(2 * self.width, use_bias=False, kernel_init=DENSE_INIT, name="position")
        position = place(sinusoids(time_t, self.width))
        query, key = jnp.split(nn.elu(query_key + position) + 1, 2, -1)
        query, key, value = map(self.by_head, (query, key, value))
        # Beside the values stands a one, whose sum is the normaliser.
        value = jnp.concatenate([value, jnp.ones_like(value[..., :1])], -1)
        sums, read = self.in_chunks(_prepare, advance, sums, (query, key, value), (0, 0, 0), firsts)
        mean = read[..., :-1] / (read[..., -1:] + 1e-6)
        return (sums, time_t[-1] + 1), Readout(self.width, name="readout")(self.flat(mean), xs)


def _prepare(steps: Arrays, firsts: Array) -> LinearChunk:
    query, key, value = steps
    within, before = (visible[..., None].astype(value.dtype) for visible in spans(firsts))
    return attended(query, key, value, within, before)
