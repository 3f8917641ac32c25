"""Backbones that are linear in their state, so that all steps of a rollout are computed in parallel."""

from __future__ import annotations

import math
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array

from seqrl_jax.naming import require
from seqrl_jax.networks.base import DENSE_INIT, Codes, InputDense, Memory, cleared
from seqrl_jax.networks.position import sinusoids, times
from seqrl_jax.settings import Count, Depth, Number, Part, Radius, Width


def linear_scan(decay: Array, drive: Array, start: Array, first: Array) -> Array:
    """`h_t = decay_t h_{t-1} + drive_t`, all t at once, with `h_{t-1} = 0` where t is a first step.

    Args: decay, drive: [T, B, H], real or complex. start: [B, H]. first: [T, B] bool.
    Returns: [T, B, H]. Source: Blelloch (1990), sec. 1.4.1: first-order recurrences as prefix sums.
    """
    decay = jnp.where(first[..., None], jnp.zeros_like(decay), decay)
    drive = drive.at[0].add(decay[0] * start)

    def join(earlier: tuple[Array, Array], later: tuple[Array, Array]) -> tuple[Array, Array]:
        return earlier[0] * later[0], later[0] * earlier[1] + later[1]

    return jax.lax.associative_scan(join, (decay, drive))[1]


class _Readout(nn.Module):
    """A nonlinear function of a linear memory's state and its input."""

    width: int

    @nn.compact
    def __call__(self, state: Array, xs: Codes) -> Array:
        of_state = nn.Dense(self.width, use_bias=False, kernel_init=DENSE_INIT, name="state")(state)
        return nn.gelu((of_state + InputDense(self.width, name="input")(xs)) * 2**-0.5)


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
        return jnp.zeros((batch, self.width), jnp.complex64)

    @nn.compact
    def __call__(self, carry: Array, xs: Codes, firsts: Array) -> tuple[Array, Array]:
        size = jnp.exp(-jnp.exp(self.param("log_rate", self._log_rate, (self.width,))))
        phase = self.param("phase", nn.initializers.uniform(math.pi), (self.width,))
        decay = jax.lax.complex(size * jnp.cos(phase), size * jnp.sin(phase))
        projected = InputDense(2 * self.width, use_bias=False, name="input")(xs)
        # Real and imaginary part keep the variance together.
        real, imaginary = jnp.split(projected, 2, -1)
        scale = jnp.sqrt(0.5 * (1 - size**2))
        drive = jax.lax.complex(scale * real, scale * imaginary)
        states = linear_scan(jnp.broadcast_to(decay, drive.shape), drive, carry, firsts)
        return states[-1], _Readout(self.width, name="readout")(jnp.concatenate([states.real, states.imag], -1), xs)

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
    def __call__(self, carry: Array, xs: Codes, firsts: Array) -> tuple[Array, Array]:
        spread = lambda key, shape, dtype: jax.random.uniform(key, shape, dtype, -2.0, 2.0) + self.gate_bias
        bias = self.param("gate_bias", spread, (self.width,), jnp.float32)
        gate = nn.sigmoid(InputDense(self.width, use_bias=False, name="gate")(xs) + bias)
        new = InputDense(self.width, use_bias=False, name="new")(xs)
        states = linear_scan(1 - gate, gate * new, carry, firsts)
        return states[-1], _Readout(self.width, name="readout")(states, xs)


class LinearAttention(Memory):
    """Attention whose weights are products of positive features: its whole past is one matrix per head.

    `S' = S + phi(k) v^T`, `n' = n + phi(k)`, `y = gelu(C [S^T phi(q) / (n . phi(q)), x])` with phi = elu + 1. Keys and
    queries see the input and the time since the episode began, for a sum over the past has no order.
    Carry: (S [B, heads, D, D], n [B, heads, D], time [B]). Rollouts are worked off in chunks: O(T chunk), not O(T^2).
    Source: Katharopoulos et al. (2020), eq. 9-11 and 16-20.
    """

    width: Width = 32
    heads: Depth = 4
    chunk: Count = 32

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.width % self.heads == 0, "heads must divide width", width=self.width, heads=self.heads)

    @nn.nowrap
    def initial_carry(self, batch: int) -> tuple[Array, Array, Array]:
        size = self.width // self.heads
        return (
            jnp.zeros((batch, self.heads, size, size)),
            jnp.zeros((batch, self.heads, size)),
            jnp.zeros(batch, jnp.int32),
        )

    @nn.compact
    def __call__(self, carry: Any, xs: Codes, firsts: Array) -> tuple[Any, Array]:
        *sums, time = carry
        time_t = times(time, firsts)
        projected = InputDense(3 * self.width, use_bias=False, name="projection")(xs)
        query_key, value = jnp.split(projected, [2 * self.width], -1)
        place = nn.Dense(2 * self.width, use_bias=False, kernel_init=DENSE_INIT, name="position")
        position = place(sinusoids(time_t, self.width))
        query, key = jnp.split(nn.elu(query_key + position) + 1, 2, -1)
        sums, read = self._attend(tuple(sums), query, key, value, firsts)
        return (*sums, time_t[-1] + 1), _Readout(self.width, name="readout")(read, xs)

    @nn.nowrap
    def _attend(self, sums: Any, query: Array, key: Array, value: Array, firsts: Array) -> tuple[Any, Array]:
        """What steps [T, B, width] read, chunk by chunk; the last one is filled up with steps that leave no trace."""
        length, batch = firsts.shape
        chunk = min(self.chunk, length)
        missing = -length % chunk
        full = lambda array: jnp.concatenate([array, jnp.zeros((missing, *array.shape[1:]), array.dtype)])
        by_head = lambda array: full(array).reshape(-1, chunk, batch, self.heads, self.width // self.heads)
        chunks = (*map(by_head, (query, key, value)), full(firsts).reshape(-1, chunk, batch))
        sums, read = jax.lax.scan(_attend_chunk, sums, chunks)
        return sums, read.reshape(-1, batch, self.width)[:length]


def _attend_chunk(carry: tuple[Array, Array], chunk: Any) -> tuple[tuple[Array, Array], Array]:
    """Within the chunk by masked products, beyond it by the sums. query, key, value: [C, B, heads, D]."""
    query, key, value, first = chunk
    begun = jnp.cumsum(first, 0)
    length = first.shape[0]
    before, normaliser = cleared(carry, begun[-1] > 0)
    together = (begun[:, None] == begun[None]) & (jnp.arange(length)[:, None] >= jnp.arange(length))[..., None]
    weight = jnp.where(together[..., None], jnp.einsum("tbhd,sbhd->tsbh", query, key), 0)
    old = jnp.where((begun == 0)[..., None, None], query, 0)
    read = jnp.einsum("tsbh,sbhd->tbhd", weight, value) + jnp.einsum("tbhd,bhde->tbhe", old, carry[0])
    total = weight.sum(1) + jnp.einsum("tbhd,bhd->tbh", old, carry[1])
    still = jnp.where((begun == begun[-1])[..., None, None], key, 0)
    after = (before + jnp.einsum("sbhd,sbhe->bhde", still, value), normaliser + still.sum(0))
    return after, read / (total[..., None] + 1e-6)
