"""The LSTM whose cell is a matrix, with exponential gates."""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array

from seqrl_jax.networks.chunks import Arrays, LinearChunk, MatrixMemory, advance, attended, log_shares
from seqrl_jax.networks.layers import Codes, InputDense
from seqrl_jax.networks.readout import Readout
from seqrl_jax.settings import Number

State = tuple[Array, Array]
NOTHING = -1e30
"""The logarithm of a share of nothing. It is finite, so that sums and differences of it are numbers."""


class MLSTM(MatrixMemory):
    """`C' = f C + i v k^T`, `n' = f n + i k`, `h = o (C' q) / max(|n'^T q|, 1)`; `i = exp(..)` and `f = sigmoid(..)`.

    The exponential input gate lets a step outweigh all that went before. So that nothing overflows, C and n are kept
    divided by exp(m), `m' = max(log f + m, log i)`, the largest share of any step that is left. What is read out, h
    with the input, does not depend on m. Carry: ([C^T, n] [B, heads, D, D + 1], m [B, heads]).

    Attributes: gate_bias: of the forget gate at the start, in the first head; 3 more in the last.
    Source: Beck et al. (2024), eq. 19-27 for the cell, eq. 15-17 for the stabiliser.
    """

    gate_bias: Number = 3.0

    @nn.nowrap
    def initial_carry(self, batch: int) -> State:
        return jnp.zeros((batch, self.heads, self.size, self.size + 1)), jnp.full((batch, self.heads), NOTHING)

    @nn.compact
    def unroll(self, carry: State, xs: Codes, firsts: Array) -> tuple[State, Array]:
        projected = InputDense(4 * self.width, use_bias=False, name="projection")(xs)
        query, key, value, out = jnp.split(projected, 4, -1)
        log_in, forget = jnp.split(InputDense(2 * self.heads, use_bias=False, name="gates")(xs), 2, -1)
        spread = lambda _: self.gate_bias + jnp.linspace(0.0, 3.0, self.heads)
        log_forget = nn.log_sigmoid(forget + self.param("gate_bias", spread))
        query, key, value = map(self.by_head, (query, key * self.size**-0.5, value))
        # Beside the values stands a one, whose sum is n.
        value = jnp.concatenate([value, jnp.ones_like(value[..., :1])], -1)
        steps = (query, key, value, log_in, log_forget)
        carry, read = self.in_chunks(_prepare, _advance, carry, steps, (0, 0, 0, NOTHING, 0), firsts)
        return carry, Readout(self.width, name="readout")(nn.sigmoid(out) * self.flat(read), xs)


def _prepare(steps: Arrays, firsts: Array) -> tuple[LinearChunk, Array, Array]:
    """The chunk divided by exp of its own largest shares [C, B, heads], with these and the log of what is left."""
    query, key, value, log_in, log_forget = steps
    between, since = log_shares(log_forget, firsts)
    between = between + log_in
    # Nothing that is read depends on what it was divided by, so that no gradient passes either.
    scale = jax.lax.stop_gradient(between.max(1))
    return attended(query, key, value, jnp.exp(between - scale[:, None]), jnp.ones_like(scale)), scale, since


def _advance(carry: State, chunk: tuple[LinearChunk, Array, Array]) -> tuple[State, Array]:
    state, before = carry
    inside, scale, since = chunk
    since = since + before
    joint = jax.lax.stop_gradient(jnp.maximum(scale, since))
    old, new = jnp.exp(since - joint)[..., None], jnp.exp(scale - joint)[..., None]
    state, read = advance(
        state,
        LinearChunk(inside.query * old, inside.read * new, old[-1, ..., None], inside.added * new[-1, ..., None]),
    )
    normaliser = jnp.maximum(jnp.abs(read[..., -1]), jnp.exp(-joint))
    return (state, joint[-1]), read[..., :-1] / normaliser[..., None]
