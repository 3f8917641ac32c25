"""Gated recurrent cells. What depends on the input alone is computed for all steps at once, before the loop.

The gradient is written by hand for the same reason: the loop backward carries only the state's gradient, and those of
the recurrent weights, which automatic differentiation would accumulate matrix by matrix inside the loop, are one
product over all steps behind it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Self

import jax
import jax.numpy as jnp
from jax import Array

from seqrl_jax.memory.base import cleared, kernel

Carry = tuple[Array, ...]
Cell = Callable[[Array, Array, Carry], Carry]
"""(input's share, state's share, both [B, G H], carry) -> carry. Elementwise; carry[0] is the state h [B, H]."""


@partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def recur(
    cell: Cell, block: int, recurrent: Array, bias: Array, start: Carry, drive: Array, first: Array
) -> tuple[Carry, Carry]:
    """Run a cell whose state enters as `h @ recurrent + bias`.

    Args:
        block: steps that one iteration of the loop runs.
        recurrent: [H, G H]. bias: [G H]. start: carries [B, H].
        drive: [T, B, G H], the input's share. first: [T, B] bool; the carry is cleared before such a step.
    Returns: the carry after the last step, and the carries after every step [T, B, H].
    """

    def step(carry: Carry, at: tuple[Array, Array]) -> tuple[Carry, Carry]:
        drive_t, first_t = at
        carry = cleared(carry, first_t)
        carry = cell(drive_t, _dot(carry[0], recurrent) + bias, carry)
        return carry, carry

    return jax.lax.scan(step, start, (drive, first), unroll=block)


def _recur_forward(cell: Cell, block: int, *inputs: Any) -> tuple[tuple[Carry, Carry], Any]:
    last, carries = recur(cell, block, *inputs)
    return (last, carries), (*inputs, carries)


def _recur_backward(cell: Cell, block: int, kept: Any, gradient: Any) -> tuple[Any, ...]:
    recurrent, bias, start, drive, first, carries = kept
    d_last, d_carries = gradient
    before = jax.tree.map(lambda begin, after: jnp.concatenate([begin[None], after[:-1]]), start, carries)
    before = cleared(before, first)
    hidden = _dot(before[0], recurrent) + bias

    def step(d_carry: Carry, at: Any) -> tuple[Carry, tuple[Array, Array]]:
        drive_t, hidden_t, before_t, first_t, d_carry_t = at
        _, pull = jax.vjp(cell, drive_t, hidden_t, before_t)
        d_drive, d_hidden, (d_state, *d_rest) = pull(jax.tree.map(jnp.add, d_carry, d_carry_t))
        d_before = (d_state + _dot(d_hidden, recurrent.T), *d_rest)
        return cleared(d_before, first_t), (d_drive, d_hidden)

    d_start, (d_drive, d_hidden) = jax.lax.scan(
        step, d_last, (drive, hidden, before, first, d_carries), reverse=True, unroll=block
    )
    flat = lambda array: array.reshape(-1, array.shape[-1])
    d_recurrent = _dot(flat(before[0]).T, flat(d_hidden)).astype(recurrent.dtype)
    return d_recurrent, d_hidden.sum((0, 1)), d_start, d_drive, None


recur.defvjp(_recur_forward, _recur_backward)


def _dot(left: Array, right: Array) -> Array:
    """A product in the precision of `right`, accumulated in float32."""
    return jnp.dot(left.astype(right.dtype), right, preferred_element_type=jnp.float32)


def gru_cell(drive: Array, hidden: Array, carry: Carry) -> Carry:
    """`h' = (1 - z) n + z h`, the reset gate applied behind the product. Source: Cho et al. (2014), as in cuDNN."""
    (state,) = carry
    drive_gates, drive_new = drive[..., : -state.shape[-1]], drive[..., -state.shape[-1] :]
    hidden_gates, hidden_new = hidden[..., : -state.shape[-1]], hidden[..., -state.shape[-1] :]
    reset, update = jnp.split(jax.nn.sigmoid(drive_gates + hidden_gates), 2, -1)
    new = jnp.tanh(drive_new + reset * hidden_new)
    return (new + update * (state - new),)


def lstm_cell(drive: Array, hidden: Array, carry: Carry) -> Carry:
    """`c' = f c + i g`, `h' = o tanh(c')`. Source: Hochreiter & Schmidhuber (1997); Gers et al. (2000)."""
    _, cell = carry
    gates = drive + hidden
    width = cell.shape[-1]
    into, forget, out = jnp.split(jax.nn.sigmoid(gates[..., : 3 * width]), 3, -1)
    cell = forget * cell + into * jnp.tanh(gates[..., 3 * width :])
    return out * jnp.tanh(cell), cell


@dataclass(frozen=True)
class Gated:
    """What the gated cells share.

    Attributes:
        width: H. block: steps that one iteration of the loop runs. dtype: of the products; `bfloat16` halves their
            traffic on accelerators. gate_bias: of the gate that keeps the old state, at the start; positive values
            remember longer.
    """

    width: int = 64
    block: int = 1
    dtype: str = "float32"
    gate_bias: float = 1.0

    cell: ClassVar[staticmethod[[Array, Array, Carry], Carry]]
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

    def init(self, key: Array, inputs: int) -> Any:
        from_input, from_state = jax.random.split(key)
        size, keep = self.gates * self.width, slice(self.keep_gate * self.width, (self.keep_gate + 1) * self.width)
        return {
            "input": kernel(from_input, inputs, size),
            "input_bias": jnp.zeros(size).at[keep].set(self.gate_bias),
            "recurrent": kernel(from_state, self.width, size),
            "recurrent_bias": jnp.zeros(size),
        }

    def initialise(self, weights: Any, batch: int) -> Carry:
        return (jnp.zeros((batch, self.width)),) * self.carries

    def step(self, weights: Any, carry: Carry, x: Array, first: Array) -> tuple[Carry, Array]:
        carry, ys = self.unroll(weights, carry, x[None], first[None])
        return carry, ys[0]

    def unroll(self, weights: Any, carry: Carry, xs: Array, firsts: Array) -> tuple[Carry, Array]:
        drive = _dot(xs, weights["input"].astype(self.dtype)) + weights["input_bias"]
        recurrent = weights["recurrent"].astype(self.dtype)
        carry, carries = recur(type(self).cell, self.block, recurrent, weights["recurrent_bias"], carry, drive, firsts)
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
