"""The selective state-space model whose state decays by one number per head."""

from __future__ import annotations

import math
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array

from seqrl_jax.networks.chunks import Arrays, LinearChunk, MatrixMemory, advance, attended, log_shares
from seqrl_jax.networks.layers import Codes, InputDense
from seqrl_jax.networks.readout import Readout
from seqrl_jax.networks.window import ShortConvolution
from seqrl_jax.settings import Depth, Width

State = tuple[Array, Array]


class Mamba2(MatrixMemory):
    """`S' = exp(-A Delta) S + Delta B x^T` and `y = S'^T C + D x` in each head; B, C and Delta depend on the input.

    B, C and x pass a short convolution first; y is gated and normalised, `RMSNorm(y silu(z))`, and read out with the
    input. Carry: (S [B, heads, state, width / heads], the convolution's last inputs [B, window - 1, width + 2 state]).

    Attributes: state: rows of S, of the keys B and the queries C, which all heads share. window: of the convolution.
    Source: Dao & Gu (2024), sec. 6 for the algorithm, sec. 7 for the block.
    """

    state: Width = 16
    window: Depth = 4

    @nn.nowrap
    def initial_carry(self, batch: int) -> State:
        matrix = jnp.zeros((batch, self.heads, self.state, self.size))
        return matrix, jnp.zeros((batch, self.window - 1, self.width + 2 * self.state))

    @nn.compact
    def unroll(self, carry: State, xs: Codes, firsts: Array) -> tuple[State, Array]:
        matrix, before = carry
        mixed = InputDense(self.width + 2 * self.state, use_bias=False, name="projection")(xs)
        gate = InputDense(self.width, use_bias=False, name="gate")(xs)
        before, mixed = ShortConvolution(self.window, name="convolution")(before, mixed, firsts)
        value, key, query = jnp.split(nn.silu(mixed), [self.width, self.width + self.state], -1)
        log_decay, step = DecayGate(self.heads, name="decay")(xs)
        value = self.by_head(value)
        key, query = (jnp.broadcast_to(part[..., None, :], (*step.shape, self.state)) for part in (key, query))
        steps = (query, key, value * step[..., None], log_decay)
        matrix, read = self.in_chunks(_prepare, advance, matrix, steps, (0, 0, 0, 0), firsts)
        skip = self.param("skip", nn.initializers.ones, (self.heads, 1))
        read = nn.RMSNorm(epsilon=1e-5, name="norm")(self.flat(read + skip * value) * nn.silu(gate))
        return (matrix, before), Readout(self.width, name="readout")(read, xs)


class DecayGate(nn.Module):
    """How far a step goes, `Delta = softplus(W x + b)`, and the logarithm of what it leaves of the state, `-A Delta`.

    Both [..., heads]. At the start A is spread over [1, 16], and Delta over [.001, .1] in its logarithm.
    Source: Dao & Gu (2024), sec. 7.
    """

    heads: int

    @nn.compact
    def __call__(self, xs: Codes) -> tuple[Array, Array]:
        log_rate = self.param("log_rate", _log_rates, (self.heads,))
        bias = self.param("bias", _step_biases, (self.heads,))
        step = nn.softplus(InputDense(self.heads, use_bias=False, name="step")(xs) + bias)
        return -jnp.exp(log_rate) * step, step


def _log_rates(key: Array, shape: tuple[int, ...], dtype: Any = jnp.float32) -> Array:
    return jnp.log(jax.random.uniform(key, shape, dtype, 1.0, 16.0))


def _step_biases(key: Array, shape: tuple[int, ...], dtype: Any = jnp.float32) -> Array:
    """What softplus makes log-uniform numbers of."""
    step = jnp.exp(jax.random.uniform(key, shape, dtype, math.log(0.001), math.log(0.1)))
    return step + jnp.log(-jnp.expm1(-step))


def _prepare(steps: Arrays, firsts: Array) -> LinearChunk:
    query, key, value, log_decay = steps
    between, since = log_shares(log_decay, firsts)
    return attended(query, key, value, jnp.exp(between), jnp.exp(since))
