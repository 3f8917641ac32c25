"""Gated recurrent memories. What depends on the input alone is computed for all steps at once, before the loop.

The gradient is written by hand for the same reason: the loop backward carries only the state's gradient, and those of
the recurrent weights, which automatic differentiation would accumulate matrix by matrix inside the loop, are one
product over all steps behind it.
"""

from __future__ import annotations

from functools import partial, reduce
from operator import add
from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array

from seqrl_jax.networks.base import Memory, cleared
from seqrl_jax.networks.gated_cells import GRU_CELL, LSTM_CELL, NBRC_CELL, Cell, Gates, States
from seqrl_jax.networks.layers import Codes, input_init
from seqrl_jax.settings import Depth, Dtype, Number, Width


@partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def recur(
    cell: Cell, block: int, recurrent: Gates, bias: Gates, start: States, drive: Gates, first: Array
) -> tuple[States, States]:
    """Run a cell whose state enters each gate as `h @ recurrent + bias`.

    Args:
        block: steps that one iteration of the loop runs.
        recurrent: [H, H] for each gate. bias: [H] for each gate. start: carries [B, H].
        drive: [T, B, H] for each gate, the input's share. first: [T, B] bool; the carry is cleared before such a step.
    Returns: the carry after the last step, and the carries after every step [T, B, H].
    """

    def step(carry: States, at: tuple[Gates, Array]) -> tuple[States, States]:
        drive_t, first_t = at
        carry = cleared(carry, first_t)
        carry, _ = cell.forward(drive_t, _share(carry[0], recurrent, bias), carry)
        return carry, carry

    return jax.lax.scan(step, start, (drive, first), unroll=block)


def _recur_forward(
    cell: Cell, block: int, recurrent: Gates, bias: Gates, start: States, drive: Gates, first: Array
) -> tuple[tuple[States, States], Any]:
    """The same, keeping what the cell's derivative needs of every step."""

    def step(carry: States, at: tuple[Gates, Array]) -> tuple[States, tuple[States, Gates]]:
        drive_t, first_t = at
        carry = cleared(carry, first_t)
        carry, kept = cell.forward(drive_t, _share(carry[0], recurrent, bias), carry)
        return carry, (carry, kept)

    last, (carries, kept) = jax.lax.scan(step, start, (drive, first), unroll=block)
    return (last, carries), (recurrent, start, first, carries, kept)


def _recur_backward(cell: Cell, block: int, residuals: Any, gradient: tuple[States, States]) -> tuple[Any, ...]:
    recurrent, start, first, carries, kept = residuals
    d_last, d_carries = gradient
    transposed = tuple(kernel.T for kernel in recurrent)
    before = jax.tree.map(lambda one, later: jnp.concatenate([one[None], later[:-1]]), start, carries)
    before = cleared(before, first)

    def step(d_carry: States, at: Any) -> tuple[States, Gates]:
        kept_t, before_t, first_t, d_carry_t = at
        d_drive, (d_state, *d_rest) = cell.backward(kept_t, before_t, jax.tree.map(jnp.add, d_carry, d_carry_t))
        d_hidden = cell.state_share(kept_t, d_drive)
        d_state = d_state + sum(_dot(d, kernel) for d, kernel in zip(d_hidden, transposed, strict=True))
        return cleared((d_state, *d_rest), first_t), d_drive

    along = (kept, before, first, d_carries)
    d_start, d_drive = jax.lax.scan(step, d_last, along, reverse=True, unroll=block)
    return *_share_gradients(before[0], recurrent, cell.state_share(kept, d_drive)), d_start, d_drive, None


recur.defvjp(_recur_forward, _recur_backward)


def _share(value: Array, kernel: Gates, bias: Gates) -> Gates:
    """What a value [..., D] brings to each gate [..., H]. kernel: [D, H] for each. bias: [H] for each."""
    return tuple(_dot(value, one) + offset for one, offset in zip(kernel, bias, strict=True))


def _share_gradients(value: Array, kernel: Gates, gradient: Gates) -> tuple[Gates, Gates]:
    """Those of kernels and biases, from those of the shares."""
    flat = lambda array: array.reshape(-1, array.shape[-1])
    # One wide product for all gates: each of its own is as narrow as the gate, and slow.
    wide = _dot(flat(value).T, flat(jnp.concatenate(gradient, -1)).astype(kernel[0].dtype))
    d_kernel = tuple(part.astype(kernel[0].dtype) for part in jnp.split(wide, len(kernel), -1))
    return d_kernel, tuple(flat(d).sum(0) for d in gradient)


@jax.custom_vjp
def _input_share(code: Array, kernel: Gates, bias: Gates) -> Gates:
    return _share(code, kernel, bias)


def _input_share_forward(code: Array, kernel: Gates, bias: Gates) -> tuple[Gates, tuple[Array, Gates]]:
    return _share(code, kernel, bias), (code, kernel)


def _input_share_backward(residuals: tuple[Array, Gates], gradient: Gates) -> tuple[Array, Gates, Gates]:
    code, kernel = residuals
    d_code = reduce(add, (_dot(d, one.T) for d, one in zip(gradient, kernel, strict=True)))
    return d_code, *_share_gradients(code, kernel, gradient)


_input_share.defvjp(_input_share_forward, _input_share_backward)


def _dot(left: Array, right: Array) -> Array:
    """A product in the precision of `right`, accumulated in that of `left`."""
    return jnp.dot(left.astype(right.dtype), right, preferred_element_type=left.dtype)


class Gated(Memory):
    """What the gated cells share.

    Attributes:
        width: H. block: steps that one iteration of the loop runs. dtype: of the products, `float32` as the weights
            are; `bfloat16` halves their traffic on accelerators. gate_bias: of the gate that keeps the old state, at
            the start; positive values remember longer.
    """

    width: Width = 32
    block: Depth = 1
    dtype: Dtype = "float32"
    gate_bias: Number = 1.0

    cell: ClassVar[Cell]
    gates: ClassVar[int]
    recurrent_gates: ClassVar[int]
    """How many of them see the state through weights of their own; they come first."""
    keep_gate: ClassVar[int]
    states: ClassVar[int]

    @nn.nowrap
    def initial_carry(self, batch: int) -> States:
        return (jnp.zeros((batch, self.width)),) * self.states

    @nn.compact
    def unroll(self, carry: States, xs: Codes, firsts: Array) -> tuple[States, Array]:
        keeping = lambda key, shape, dtype: jnp.zeros(shape, dtype).at[self.keep_gate].set(self.gate_bias)
        weights = lambda name, init, *shape: self.param(name, init, (*shape, self.width), jnp.float32)
        by_gate = lambda stacked: tuple(stacked.astype(self.dtype) if self.dtype == "bfloat16" else stacked)
        inputs = [weights(f"input_kernel_{k}", input_init, self.gates, x.shape[-1]) for k, x in enumerate(xs)]
        input_bias = tuple(weights("input_bias", keeping, self.gates))
        drive = _input_share(jnp.concatenate(xs, -1), by_gate(jnp.concatenate(inputs, 1)), input_bias)
        recurrent = by_gate(weights("recurrent_kernel", GATE_INIT, self.recurrent_gates, self.width))
        recurrent_bias = tuple(weights("recurrent_bias", nn.initializers.zeros, self.recurrent_gates))
        carry, states = recur(self.cell, self.block, recurrent, recurrent_bias, carry, drive, firsts)
        return carry, states[0]


GATE_INIT = nn.initializers.variance_scaling(1.0, "fan_in", "normal", batch_axis=0)


class GRU(Gated):
    """Gated recurrent unit. Carry: (h [B, H],). Gates: reset, update, new."""

    cell = GRU_CELL
    gates = recurrent_gates = 3
    keep_gate = 1
    states = 1


class LSTM(Gated):
    """Long short-term memory. Carry: (h, c), both [B, H]. Gates: input, forget, output, new."""

    cell = LSTM_CELL
    gates = recurrent_gates = 4
    keep_gate = 1
    states = 2


class NBRC(Gated):
    """Bistable recurrent cell. Carry: (h [B, H],). Gates: feedback, keep, new.

    Where the feedback exceeds one, a unit without input has two stable states and holds one of them for ever; below it
    has one, and forgets. A unit's own feedback is what the third gate has in place of recurrent weights. Sequential,
    like the GRU.
    """

    cell = NBRC_CELL
    gates = 3
    recurrent_gates = 2
    keep_gate = 1
    states = 1
