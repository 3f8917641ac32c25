"""Recurrences that are linear in their state, so that all steps of a rollout are computed in parallel."""

from __future__ import annotations

import math

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array

from seqrl_jax.naming import require
from seqrl_jax.networks.base import Memory, cleared
from seqrl_jax.networks.layers import Codes, InputDense
from seqrl_jax.networks.readout import Readout
from seqrl_jax.settings import Number, Part, Radius, Width


def linear_scan(decay: Array, drive: Array, start: Array, first: Array) -> Array:
    """`h_t = decay_t h_{t-1} + drive_t`, all t at once, with `h_{t-1} = 0` where t is a first step.

    Args: decay, drive: [T, B, H], real or complex. start: [B, H]. first: [T, B] bool.
    Returns: [T, B, H]. Source: Blelloch (1990), sec. 1.4.1: first-order recurrences as prefix sums.
    """
    decay = jnp.where(first[..., None], jnp.zeros_like(decay), decay)
    drive = drive.at[0].add(decay[0] * cleared(start, first[0]))

    def join(earlier: tuple[Array, Array], later: tuple[Array, Array]) -> tuple[Array, Array]:
        return earlier[0] * later[0], later[0] * earlier[1] + later[1]

    return jax.lax.associative_scan(join, (decay, drive))[1]


class LRU(Memory):
    """Linear recurrent unit: a diagonal complex recurrence with stable eigenvalues, then a nonlinear readout.

    Carry: [B, width] complex64. `h' = lambda h + sqrt(1 - |lambda|^2) B x`, `y = gelu(C [Re h, Im h, x])`. At the
    start |lambda| is spread over [radius, outer_radius]. Source: Orvieto et al. (2023), sec. 3.
    """

    width: Width = 32
    radius: Radius = 0.5
    outer_radius: Part = 0.999

    def __post_init__(self) -> None:
        super().__post_init__()
        ordered = self.radius <= self.outer_radius
        require(ordered, "the ring is empty", radius=self.radius, outer_radius=self.outer_radius)

    @nn.nowrap
    def initial_carry(self, batch: int) -> Array:
        return jnp.zeros((batch, self.width), complex)

    @nn.compact
    def unroll(self, carry: Array, xs: Codes, firsts: Array) -> tuple[Array, Array]:
        rate = jnp.exp(self.param("log_rate", self._log_rate, (self.width,)))
        size = jnp.exp(-rate)
        phase = self.param("phase", nn.initializers.uniform(math.pi), (self.width,))
        decay = jax.lax.complex(size * jnp.cos(phase), size * jnp.sin(phase))
        projected = InputDense(2 * self.width, use_bias=False, name="input")(xs)
        # Real and imaginary part keep the variance together.
        real, imaginary = jnp.split(projected, 2, -1)
        # 1 - size^2 itself would be 0 where hardly anything decays, and the root's gradient infinite.
        scale = jnp.sqrt(-0.5 * jnp.expm1(-2 * rate))
        drive = jax.lax.complex(scale * real, scale * imaginary)
        states = linear_scan(jnp.broadcast_to(decay, drive.shape), drive, carry, firsts)
        return states[-1], Readout(self.width, name="readout")(jnp.concatenate([states.real, states.imag], -1), xs)

    def _log_rate(self, key: Array, shape: tuple[int, ...]) -> Array:
        squared = jax.random.uniform(key, shape, minval=self.radius**2, maxval=self.outer_radius**2)
        return jnp.log(-0.5 * jnp.log(squared))


class MinGRU(Memory):
    """A GRU whose gate looks at the input alone, which makes it linear in its state. Carry: [B, width].

    `h' = (1 - z) h + z V x`, `z = sigmoid(U x)`, `y = gelu(C [h, x])`. Unlike the LRU it can choose what to keep.
    Source: Feng et al. (2024), sec. 3.1.
    """

    width: Width = 32
    gate_bias: Number = -1.0

    @nn.nowrap
    def initial_carry(self, batch: int) -> Array:
        return jnp.zeros((batch, self.width))

    @nn.compact
    def unroll(self, carry: Array, xs: Codes, firsts: Array) -> tuple[Array, Array]:
        spread = lambda key, shape, dtype: jax.random.uniform(key, shape, dtype, -2.0, 2.0) + self.gate_bias
        bias = self.param("gate_bias", spread, (self.width,), jnp.float32)
        gate = nn.sigmoid(InputDense(self.width, use_bias=False, name="gate")(xs) + bias)
        new = InputDense(self.width, use_bias=False, name="new")(xs)
        states = linear_scan(1 - gate, gate * new, carry, firsts)
        return states[-1], Readout(self.width, name="readout")(states, xs)
