"""Backbones that are linear in their state, so that all steps of a rollout are computed in parallel."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from seqrl_jax.memory.base import Block, cleared, dense, kernel
from seqrl_jax.memory.position import sinusoids, times
from seqrl_jax.naming import check, require
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


def _readout_init(key: Array, state: int, inputs: Sequence[Block], width: int) -> Any:
    return {"readout": kernel(key, (*dense(state), *inputs), width), "readout_bias": jnp.zeros(width)}


def _readout(weights: Any, *parts: Array) -> Array:
    return jax.nn.gelu(jnp.concatenate(parts, -1) @ weights["readout"] + weights["readout_bias"])


@dataclass(frozen=True)
class LRU:
    """Linear recurrent unit: a diagonal complex recurrence with stable eigenvalues, then a nonlinear readout.

    Carry: [B, width] complex64. `h' = lambda h + sqrt(1 - |lambda|^2) B x`, `y = gelu(C [Re h, Im h, x])`. At the
    start |lambda| is spread over [radius, outer_radius]. Source: Orvieto et al. (2023), sec. 3.
    """

    width: Width = 64
    radius: Radius = 0.5
    outer_radius: Part = 0.999

    def __post_init__(self) -> None:
        check(self)
        ordered = self.radius <= self.outer_radius
        require(ordered, "the ring is empty", radius=self.radius, outer_radius=self.outer_radius)

    @property
    def reach(self) -> None:
        return None

    def features(self, inputs: int) -> int:
        return self.width

    def for_horizon(self, horizon: int) -> LRU:
        return self

    def init(self, key: Array, inputs: Sequence[Block]) -> Any:
        radius_key, phase_key, into_key, readout_key = jax.random.split(key, 4)
        squared = jax.random.uniform(radius_key, (self.width,), minval=self.radius**2, maxval=self.outer_radius**2)
        return {
            "log_rate": jnp.log(-0.5 * jnp.log(squared)),
            "phase": jax.random.uniform(phase_key, (self.width,), maxval=math.pi),
            "input": kernel(into_key, inputs, 2 * self.width) / 2**0.5,
            **_readout_init(readout_key, 2 * self.width, inputs, self.width),
        }

    def initialise(self, weights: Any, batch: int) -> Array:
        return jnp.zeros((batch, self.width), jnp.complex64)

    def step(self, weights: Any, carry: Array, x: Array, first: Array) -> tuple[Array, Array]:
        carry, ys = self.unroll(weights, carry, x[None], first[None])
        return carry, ys[0]

    def unroll(self, weights: Any, carry: Array, xs: Array, firsts: Array) -> tuple[Array, Array]:
        size = jnp.exp(-jnp.exp(weights["log_rate"]))
        decay = jax.lax.complex(size * jnp.cos(weights["phase"]), size * jnp.sin(weights["phase"]))
        driven = jnp.sqrt(1 - size**2) * (xs @ weights["input"]).reshape(*xs.shape[:2], 2, self.width)
        drive = jax.lax.complex(driven[:, :, 0], driven[:, :, 1])
        states = linear_scan(jnp.broadcast_to(decay, drive.shape), drive, carry, firsts)
        return states[-1], _readout(weights, states.real, states.imag, xs)


@dataclass(frozen=True)
class MinGRU:
    """A GRU whose gate looks at the input alone, which makes it linear in its state. Carry: [B, width].

    `h' = (1 - z) h + z V x`, `z = sigmoid(U x)`, `y = gelu(C [h, x])`. Unlike the LRU it can choose what to keep.
    Source: Feng et al. (2024), sec. 3.1.
    """

    width: Width = 64
    gate_bias: Number = -1.0

    def __post_init__(self) -> None:
        check(self)

    @property
    def reach(self) -> None:
        return None

    def features(self, inputs: int) -> int:
        return self.width

    def for_horizon(self, horizon: int) -> MinGRU:
        return self

    def init(self, key: Array, inputs: Sequence[Block]) -> Any:
        gate_key, new_key, readout_key = jax.random.split(key, 3)
        return {
            "gate": kernel(gate_key, inputs, self.width),
            "gate_bias": jax.random.uniform(gate_key, (self.width,), minval=-2.0, maxval=2.0) + self.gate_bias,
            "new": kernel(new_key, inputs, self.width),
            **_readout_init(readout_key, self.width, inputs, self.width),
        }

    def initialise(self, weights: Any, batch: int) -> Array:
        return jnp.zeros((batch, self.width))

    def step(self, weights: Any, carry: Array, x: Array, first: Array) -> tuple[Array, Array]:
        carry, ys = self.unroll(weights, carry, x[None], first[None])
        return carry, ys[0]

    def unroll(self, weights: Any, carry: Array, xs: Array, firsts: Array) -> tuple[Array, Array]:
        gate = jax.nn.sigmoid(xs @ weights["gate"] + weights["gate_bias"])
        states = linear_scan(1 - gate, gate * (xs @ weights["new"]), carry, firsts)
        return states[-1], _readout(weights, states, xs)


@dataclass(frozen=True)
class LinearAttention:
    """Attention whose weights are products of positive features: its whole past is one matrix per head.

    `S' = S + phi(k) v^T`, `n' = n + phi(k)`, `y = gelu(C [S^T phi(q) / (n . phi(q)), x])` with phi = elu + 1. Keys and
    queries see the input and the time since the episode began, for a sum over the past has no order.
    Carry: (S [B, heads, D, D], n [B, heads, D], time [B]). Rollouts are worked off in chunks: O(T chunk), not O(T^2).
    Source: Katharopoulos et al. (2020), eq. 9-11 and 16-20.
    """

    width: Width = 64
    heads: Depth = 4
    chunk: Count = 32

    def __post_init__(self) -> None:
        check(self)
        require(self.width % self.heads == 0, "heads must divide width", width=self.width, heads=self.heads)

    @property
    def reach(self) -> None:
        return None

    def features(self, inputs: int) -> int:
        return self.width

    def for_horizon(self, horizon: int) -> LinearAttention:
        return self

    def init(self, key: Array, inputs: Sequence[Block]) -> Any:
        projection_key, position_key, readout_key = jax.random.split(key, 3)
        return {
            "projection": kernel(projection_key, inputs, 3 * self.width),
            "position": kernel(position_key, self.width, 2 * self.width),
            **_readout_init(readout_key, self.width, inputs, self.width),
        }

    def initialise(self, weights: Any, batch: int) -> tuple[Array, Array, Array]:
        size = self.width // self.heads
        return (
            jnp.zeros((batch, self.heads, size, size)),
            jnp.zeros((batch, self.heads, size)),
            jnp.zeros(batch, jnp.int32),
        )

    def step(self, weights: Any, carry: Any, x: Array, first: Array) -> tuple[Any, Array]:
        carry, ys = self.unroll(weights, carry, x[None], first[None])
        return carry, ys[0]

    def unroll(self, weights: Any, carry: Any, xs: Array, firsts: Array) -> tuple[Any, Array]:
        length, batch = firsts.shape
        chunk = max(size for size in range(1, min(self.chunk, length) + 1) if length % size == 0)
        *sums, time = carry
        time_t = times(time, firsts)
        projected = xs @ weights["projection"]
        position = sinusoids(time_t, self.width) @ weights["position"]
        query_key, value = projected[..., : 2 * self.width] + position, projected[..., 2 * self.width :]
        query, key = jnp.split(jax.nn.elu(query_key) + 1, 2, -1)
        chunks = jax.tree.map(
            lambda array: array.reshape(length // chunk, chunk, batch, self.heads, -1), (query, key, value)
        )
        sums, read = jax.lax.scan(_attend_chunk, tuple(sums), (*chunks, firsts.reshape(-1, chunk, batch)))
        return (*sums, time_t[-1] + 1), _readout(weights, read.reshape(length, batch, self.width), xs)


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
    kept = jnp.where((begun == begun[-1])[..., None, None], key, 0)
    after = (before + jnp.einsum("sbhd,sbhe->bhde", kept, value), normaliser + kept.sum(0))
    return after, read / (total[..., None] + 1e-6)
