"""Fast and Forgetful Memory: what was seen fades in many traces, in many places of a cycle."""

from __future__ import annotations

import math

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array

from seqrl_jax.networks.base import Memory
from seqrl_jax.networks.layers import DENSE_INIT, Codes, Dense, InputDense, plain_layer_norm
from seqrl_jax.networks.linear import linear_scan
from seqrl_jax.settings import Horizon, Width

FASTEST = 0.5
"""The rate, per step, of the trace that fades first."""
FORGOTTEN = 0.01
"""What is left of a trace that counts as forgotten."""


class FFM(Memory):
    """A memory of m traces times c contexts, each a sum of what was let in, decayed and turned.

    `S' = gamma S + (V x sigmoid(G x)) 1^T` with `gamma = exp(-|alpha|) exp(i omega)^T`, and `y = g LN(z) + (1 - g) D x`
    with `z = C [Re S', Im S']` and `g = sigmoid(O x)`. Carry: S [B, traces * contexts] complex64.

    Attributes:
        width: of the output. traces: m. contexts: c. longest: steps after which the slowest trace is forgotten at the
            start, and the longest period of a context.
    Source: Morad et al. (2023); the normalisation stands before the output gate, as in the authors' code.
    """

    width: Width = 32
    traces: Width = 16
    contexts: Width = 4
    longest: Horizon = 1024

    @nn.nowrap
    def initial_carry(self, batch: int) -> Array:
        return jnp.zeros((batch, self.traces * self.contexts), complex)

    @nn.compact
    def unroll(self, carry: Array, xs: Codes, firsts: Array) -> tuple[Array, Array]:
        layer = lambda size, name: InputDense(size, name=name)(xs)
        rates = lambda _: jnp.linspace(-math.log(FORGOTTEN) / self.longest, FASTEST, self.traces)
        frequencies = lambda _: 2 * math.pi / jnp.linspace(1.0, self.longest, self.contexts)
        rate, frequency = jnp.abs(self.param("rate", rates)), self.param("frequency", frequencies)
        decay = jnp.exp(jax.lax.complex(*jnp.broadcast_arrays(-rate[:, None], frequency))).reshape(-1)
        let_in = layer(self.traces, "trace") * nn.sigmoid(layer(self.traces, "input_gate"))
        drive = jnp.repeat(let_in, self.contexts, -1).astype(carry.dtype)
        states = linear_scan(jnp.broadcast_to(decay, drive.shape), drive, carry, firsts)
        read = Dense(self.width, kernel_init=DENSE_INIT, name="mix")(jnp.concatenate([states.real, states.imag], -1))
        gate, past = nn.sigmoid(layer(self.width, "output_gate")), layer(self.width, "input")
        return states[-1], gate * plain_layer_norm()(read) + (1 - gate) * past
