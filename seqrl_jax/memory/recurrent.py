"""Gated recurrent cells. What depends on the input alone is computed for all steps at once, before the loop.

The gradient is written by hand for the same reason: the loop backward carries only the state's gradient, and those of
the recurrent weights, which automatic differentiation would accumulate matrix by matrix inside the loop, are one
product over all steps behind it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Self

import jax
import jax.numpy as jnp
from jax import Array

from seqrl_jax.memory.base import Block, cleared, kernel
from seqrl_jax.naming import check
from seqrl_jax.settings import Depth, Dtype, Number, Width

Carry = tuple[Array, ...]
Gates = tuple[Array, ...]
"""One array [..., B, H] for every gate. Slices of one wide array would keep the compiler from vectorising the cell."""

Cell = Callable[[Gates, Gates, Carry], Carry]
"""(input's share, state's share, carry) -> carry. Elementwise; carry[0] is the state h [B, H]."""


@partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def recur(
    cell: Cell, block: int, recurrent: Gates, bias: Gates, start: Carry, drive: Gates, first: Array
) -> tuple[Carry, Carry]:
    """Run a cell whose state enters each gate as `h @ recurrent + bias`.

    Args:
        block: steps that one iteration of the loop runs.
        recurrent: [H, H] for each gate. bias: [H] for each gate. start: carries [B, H].
        drive: [T, B, H] for each gate, the input's share. first: [T, B] bool; the carry is cleared before such a step.
    Returns: the carry after the last step, and the carries after every step [T, B, H].
    """

    def step(carry: Carry, at: tuple[Gates, Array]) -> tuple[Carry, Carry]:
        drive_t, first_t = at
        carry = cleared(carry, first_t)
        carry = cell(drive_t, _share(carry[0], recurrent, bias), carry)
        return carry, carry

    return jax.lax.scan(step, start, (drive, first), unroll=block)


def _recur_forward(
    cell: Cell, block: int, recurrent: Gates, bias: Gates, start: Carry, drive: Gates, first: Array
) -> tuple[tuple[Carry, Carry], Any]:
    """The same, keeping what the cell's own derivative needs at every step."""

    def step(carry: Carry, at: tuple[Gates, Array]) -> tuple[Carry, tuple[Carry, Any]]:
        drive_t, first_t = at
        carry = cleared(carry, first_t)
        carry, pull = jax.vjp(cell, drive_t, _share(carry[0], recurrent, bias), carry)
        return carry, (carry, pull)

    last, (carries, pulls) = jax.lax.scan(step, start, (drive, first), unroll=block)
    return (last, carries), (recurrent, start[0], first, carries[0], pulls)


def _recur_backward(cell: Cell, block: int, kept: Any, gradient: tuple[Carry, Carry]) -> tuple[Any, ...]:
    recurrent, start, first, states, pulls = kept
    d_last, d_carries = gradient
    transposed = tuple(kernel.T for kernel in recurrent)

    def step(d_carry: Carry, at: Any) -> tuple[Carry, tuple[Gates, Gates]]:
        pull, first_t, d_carry_t = at
        d_drive, d_hidden, (d_state, *d_rest) = pull(jax.tree.map(jnp.add, d_carry, d_carry_t))
        d_state = d_state + sum(_dot(d, kernel) for d, kernel in zip(d_hidden, transposed, strict=True))
        return cleared((d_state, *d_rest), first_t), (d_drive, d_hidden)

    d_start, (d_drive, d_hidden) = jax.lax.scan(step, d_last, (pulls, first, d_carries), reverse=True, unroll=block)
    before = cleared(jnp.concatenate([start[None], states[:-1]]), first)
    flat = lambda array: array.reshape(-1, array.shape[-1])
    # One wide product for all gates.
    wide = _dot(flat(before).T, flat(jnp.concatenate(d_hidden, -1)).astype(recurrent[0].dtype))
    d_recurrent = tuple(part.astype(recurrent[0].dtype) for part in jnp.split(wide, len(recurrent), -1))
    return d_recurrent, tuple(d.sum((0, 1)) for d in d_hidden), d_start, d_drive, None


recur.defvjp(_recur_forward, _recur_backward)


def _share(state: Array, recurrent: Gates, bias: Gates) -> Gates:
    return tuple(_dot(state, kernel) + offset for kernel, offset in zip(recurrent, bias, strict=True))


def _dot(left: Array, right: Array) -> Array:
    """A product in the precision of `right`, accumulated in float32."""
    return jnp.dot(left.astype(right.dtype), right, preferred_element_type=jnp.float32)


def gru_cell(drive: Gates, hidden: Gates, carry: Carry) -> Carry:
    """`h' = (1 - z) n + z h`, the reset gate applied behind the product. Source: Cho et al. (2014), as in cuDNN."""
    (state,) = carry
    reset = jax.nn.sigmoid(drive[0] + hidden[0])
    update = jax.nn.sigmoid(drive[1] + hidden[1])
    new = jnp.tanh(drive[2] + reset * hidden[2])
    return (new + update * (state - new),)


def lstm_cell(drive: Gates, hidden: Gates, carry: Carry) -> Carry:
    """`c' = f c + i g`, `h' = o tanh(c')`. Source: Hochreiter & Schmidhuber (1997); Gers et al. (2000)."""
    _, cell = carry
    into, forget, out, new = (d + h for d, h in zip(drive, hidden, strict=True))
    cell = jax.nn.sigmoid(forget) * cell + jax.nn.sigmoid(into) * jnp.tanh(new)
    return jax.nn.sigmoid(out) * jnp.tanh(cell), cell


@dataclass(frozen=True)
class Gated:
    """What the gated cells share.

    Attributes:
        width: H. block: steps that one iteration of the loop runs. dtype: of the products; `bfloat16` halves their
            traffic on accelerators. gate_bias: of the gate that keeps the old state, at the start; positive values
            remember longer.
    """

    width: Width = 64
    block: Depth = 1
    dtype: Dtype = "float32"
    gate_bias: Number = 1.0

    def __post_init__(self) -> None:
        check(self)

    cell: ClassVar[Any]
    gates: ClassVar[int]
    keep_gate: ClassVar[int]
    carries: ClassVar[int]

    @property
    def reach(self) -> None:
        return None

    def features(self, inputs: int) -> int:
        return self.width

    def for_horizon(self, horizon: int) -> Self:
        return self

    def init(self, key: Array, inputs: Sequence[Block]) -> Any:
        from_input, from_state = jax.random.split(key)
        each = lambda key, inputs: jax.vmap(lambda key: kernel(key, inputs, self.width))(
            jax.random.split(key, self.gates)
        )
        return {
            "input": each(from_input, inputs),
            "input_bias": jnp.zeros((self.gates, self.width)).at[self.keep_gate].set(self.gate_bias),
            "recurrent": each(from_state, self.width),
            "recurrent_bias": jnp.zeros((self.gates, self.width)),
        }

    def initialise(self, weights: Any, batch: int) -> Carry:
        return (jnp.zeros((batch, self.width)),) * self.carries

    def step(self, weights: Any, carry: Carry, x: Array, first: Array) -> tuple[Carry, Array]:
        carry, ys = self.unroll(weights, carry, x[None], first[None])
        return carry, ys[0]

    def unroll(self, weights: Any, carry: Carry, xs: Array, firsts: Array) -> tuple[Carry, Array]:
        apart = lambda stacked: tuple(stacked[gate] for gate in range(self.gates))
        drive = _share(xs, apart(weights["input"].astype(self.dtype)), apart(weights["input_bias"]))
        recurrent, bias = apart(weights["recurrent"].astype(self.dtype)), apart(weights["recurrent_bias"])
        carry, carries = recur(type(self).cell, self.block, recurrent, bias, carry, drive, firsts)
        return carry, carries[0]


@dataclass(frozen=True)
class GRU(Gated):
    """Gated recurrent unit. Carry: (h [B, H],). Gates: reset, update, new."""

    cell = staticmethod(gru_cell)
    gates = 3
    keep_gate = 1
    carries = 1


@dataclass(frozen=True)
class LSTM(Gated):
    """Long short-term memory. Carry: (h, c), both [B, H]. Gates: input, forget, output, new."""

    cell = staticmethod(lstm_cell)
    gates = 4
    keep_gate = 1
    carries = 2
