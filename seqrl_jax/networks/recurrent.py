"""Gated recurrent cells. What depends on the input alone is computed for all steps at once, before the loop.

The gradient is written by hand for the same reason: the loop backward carries only the state's gradient, and those of
the recurrent weights, which automatic differentiation would accumulate matrix by matrix inside the loop, are one
product over all steps behind it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array

from seqrl_jax.networks.base import Codes, Memory, cleared, input_init
from seqrl_jax.settings import Depth, Dtype, Number, Width

States = tuple[Array, ...]
Gates = tuple[Array, ...]
"""One array [..., B, H] for every gate. Slices of one wide array would keep the compiler from vectorising the cell."""

Cell = Callable[[Gates, Gates, States], States]
"""(input's share, state's share, carry) -> carry. Elementwise; carry[0] is the state h [B, H]."""


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
        carry = cell(drive_t, _share(carry[0], recurrent, bias), carry)
        return carry, carry

    return jax.lax.scan(step, start, (drive, first), unroll=block)


def _recur_forward(
    cell: Cell, block: int, recurrent: Gates, bias: Gates, start: States, drive: Gates, first: Array
) -> tuple[tuple[States, States], Any]:
    """The same, keeping what the cell's own derivative needs at every step."""

    def step(carry: States, at: tuple[Gates, Array]) -> tuple[States, tuple[States, Any]]:
        drive_t, first_t = at
        carry = cleared(carry, first_t)
        carry, pull = jax.vjp(cell, drive_t, _share(carry[0], recurrent, bias), carry)
        return carry, (carry, pull)

    last, (carries, pulls) = jax.lax.scan(step, start, (drive, first), unroll=block)
    return (last, carries), (recurrent, start[0], first, carries[0], pulls)


def _recur_backward(cell: Cell, block: int, residuals: Any, gradient: tuple[States, States]) -> tuple[Any, ...]:
    recurrent, start, first, states, pulls = residuals
    d_last, d_carries = gradient
    transposed = tuple(kernel.T for kernel in recurrent)

    def step(d_carry: States, at: Any) -> tuple[States, tuple[Gates, Gates]]:
        pull, first_t, d_carry_t = at
        d_drive, d_hidden, (d_state, *d_rest) = pull(jax.tree.map(jnp.add, d_carry, d_carry_t))
        d_state = d_state + sum(_dot(d, kernel) for d, kernel in zip(d_hidden, transposed, strict=True))
        return cleared((d_state, *d_rest), first_t), (d_drive, d_hidden)

    d_start, (d_drive, d_hidden) = jax.lax.scan(step, d_last, (pulls, first, d_carries), reverse=True, unroll=block)
    before = cleared(jnp.concatenate([start[None], states[:-1]]), first)
    return *_share_gradients(before, recurrent, d_hidden), d_start, d_drive, None


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
    d_code = sum(_dot(d, one.T) for d, one in zip(gradient, kernel, strict=True))
    return d_code, *_share_gradients(code, kernel, gradient)


_input_share.defvjp(_input_share_forward, _input_share_backward)


def _dot(left: Array, right: Array) -> Array:
    """A product in the precision of `right`, accumulated in that of `left`."""
    return jnp.dot(left.astype(right.dtype), right, preferred_element_type=left.dtype)


def gru_cell(drive: Gates, hidden: Gates, carry: States) -> States:
    """`h' = (1 - z) n + z h`, the reset gate applied behind the product. Source: Cho et al. (2014), as in cuDNN."""
    (state,) = carry
    reset = jax.nn.sigmoid(drive[0] + hidden[0])
    update = jax.nn.sigmoid(drive[1] + hidden[1])
    new = jnp.tanh(drive[2] + reset * hidden[2])
    return (new + update * (state - new),)


def lstm_cell(drive: Gates, hidden: Gates, carry: States) -> States:
    """`c' = f c + i g`, `h' = o tanh(c')`. Source: Hochreiter & Schmidhuber (1997); Gers et al. (2000)."""
    _, cell = carry
    into, forget, out, new = (d + h for d, h in zip(drive, hidden, strict=True))
    cell = jax.nn.sigmoid(forget) * cell + jax.nn.sigmoid(into) * jnp.tanh(new)
    return jax.nn.sigmoid(out) * jnp.tanh(cell), cell


def nbrc_cell(drive: Gates, hidden: Gates, carry: States) -> States:
    """`h' = (1 - c) tanh(U x + a h) + c h` with the feedback `a = 1 + tanh(..)` and `c = sigmoid(..)` of x and h.

    Source: Vecoven, Ernst & Drion (2021), the recurrently neuromodulated bistable recurrent cell (nBRC).
    """
    (state,) = carry
    feedback = 1 + jnp.tanh(drive[0] + hidden[0])
    keep = jax.nn.sigmoid(drive[1] + hidden[1])
    new = jnp.tanh(drive[2] + feedback * state)
    return (new + keep * (state - new),)


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

    cell: ClassVar[Any]
    gates: ClassVar[int]
    recurrent_gates: ClassVar[int]
    """How many of them see the state through weights of their own; they come first."""
    keep_gate: ClassVar[int]
    states: ClassVar[int]

    @nn.nowrap
    def initial_carry(self, batch: int) -> States:
        return (jnp.zeros((batch, self.width)),) * self.states

    @nn.compact
    def __call__(self, carry: States, xs: Codes, firsts: Array) -> tuple[States, Array]:
        keeping = lambda key, shape, dtype: jnp.zeros(shape, dtype).at[self.keep_gate].set(self.gate_bias)
        weights = lambda name, init, *shape: self.param(name, init, (*shape, self.width), jnp.float32)
        by_gate = lambda stacked: tuple(stacked.astype(self.dtype) if self.dtype == "bfloat16" else stacked)
        inputs = [weights(f"input_kernel_{k}", input_init, self.gates, x.shape[-1]) for k, x in enumerate(xs)]
        input_bias = tuple(weights("input_bias", keeping, self.gates))
        drive = _input_share(jnp.concatenate(xs, -1), by_gate(jnp.concatenate(inputs, 1)), input_bias)
        recurrent = by_gate(weights("recurrent_kernel", GATE_INIT, self.recurrent_gates, self.width))
        recurrent_bias = tuple(weights("recurrent_bias", nn.initializers.zeros, self.recurrent_gates))
        carry, states = recur(type(self).cell, self.block, recurrent, recurrent_bias, carry, drive, firsts)
        return carry, states[0]


GATE_INIT = nn.initializers.variance_scaling(1.0, "fan_in", "normal", batch_axis=0)


class GRU(Gated):
    """Gated recurrent unit. Carry: (h [B, H],). Gates: reset, update, new."""

    cell = staticmethod(gru_cell)
    gates = recurrent_gates = 3
    keep_gate = 1
    states = 1


class LSTM(Gated):
    """Long short-term memory. Carry: (h, c), both [B, H]. Gates: input, forget, output, new."""

    cell = staticmethod(lstm_cell)
    gates = recurrent_gates = 4
    keep_gate = 1
    states = 2


class NBRC(Gated):
    """Bistable recurrent cell. Carry: (h [B, H],). Gates: feedback, keep, new.

    Where the feedback exceeds one, a unit without input has two stable states and holds one of them for ever; below it
    has one, and forgets. A unit's own feedback is what the third gate has in place of recurrent weights. Sequential,
    like the GRU.
    """

    cell = staticmethod(nbrc_cell)
    gates = 3
    recurrent_gates = 2
    keep_gate = 1
    states = 1
