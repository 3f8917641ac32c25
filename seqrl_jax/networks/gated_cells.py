"""Gated recurrent cells: their equations, and the derivatives of these, elementwise and for one step.

The derivatives are written by hand, so that a loop keeps no more of a step than they need: what the gates put out.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

Gates = tuple[Array, ...]
"""One array [..., B, H] for every gate. Slices of one wide array would keep the compiler from vectorising the cell."""
States = tuple[Array, ...]
"""A carry, [..., B, H] each; the first is the state h, which the next step's gates read."""


class Cell(NamedTuple):
    """One step, from what the input and the state h bring to each gate (their shares), and its derivative.

    Attributes:
        forward: (input's share, state's share, carry) -> the carry after the step, and what is kept of it.
        backward: (kept, carry before, gradient of the carry after) -> gradients of the input's share and of the carry
            before, in which what goes through the state's share is left out.
        state_share: (kept, gradient of the input's share) -> gradient of the state's share.
    """

    forward: Callable[[Gates, Gates, States], tuple[States, Gates]]
    backward: Callable[[Gates, States, States], tuple[Gates, States]]
    state_share: Callable[[Gates, Gates], Gates]


def _through_sigmoid(gate: Array, gradient: Array) -> Array:
    return gradient * gate * (1 - gate)


def _through_tanh(gate: Array, gradient: Array) -> Array:
    return gradient * (1 - gate * gate)


def _gru_forward(drive: Gates, hidden: Gates, carry: States) -> tuple[States, Gates]:
    (state,) = carry
    reset = jax.nn.sigmoid(drive[0] + hidden[0])
    update = jax.nn.sigmoid(drive[1] + hidden[1])
    new = jnp.tanh(drive[2] + reset * hidden[2])
    return (new + update * (state - new),), (reset, update, new, hidden[2])


def _gru_backward(kept: Gates, before: States, after: States) -> tuple[Gates, States]:
    (reset, update, new, share), (state,), (d_state,) = kept, before, after
    d_new = _through_tanh(new, d_state * (1 - update))
    d_update = _through_sigmoid(update, d_state * (state - new))
    return (_through_sigmoid(reset, d_new * share), d_update, d_new), (d_state * update,)


def _gru_state_share(kept: Gates, d_drive: Gates) -> Gates:
    d_reset, d_update, d_new = d_drive
    return d_reset, d_update, d_new * kept[0]


GRU_CELL = Cell(_gru_forward, _gru_backward, _gru_state_share)
"""`h' = (1 - z) n + z h`, the reset gate applied behind the product. Gates: reset, update z, new n.

Source: Cho et al. (2014), as in cuDNN.
"""


def _lstm_forward(drive: Gates, hidden: Gates, carry: States) -> tuple[States, Gates]:
    _, cell = carry
    into, forget, out, new = (d + h for d, h in zip(drive, hidden, strict=True))
    into, forget, out, new = jax.nn.sigmoid(into), jax.nn.sigmoid(forget), jax.nn.sigmoid(out), jnp.tanh(new)
    cell = forget * cell + into * new
    shown = jnp.tanh(cell)
    return (out * shown, cell), (into, forget, out, new, shown)


def _lstm_backward(kept: Gates, before: States, after: States) -> tuple[Gates, States]:
    (into, forget, out, new, shown), (state, cell), (d_state, d_cell) = kept, before, after
    d_cell = d_cell + _through_tanh(shown, d_state * out)
    d_drive = (
        _through_sigmoid(into, d_cell * new),
        _through_sigmoid(forget, d_cell * cell),
        _through_sigmoid(out, d_state * shown),
        _through_tanh(new, d_cell * into),
    )
    return d_drive, (jnp.zeros_like(state), d_cell * forget)


def _alike(kept: Gates, d_drive: Gates) -> Gates:
    return d_drive


LSTM_CELL = Cell(_lstm_forward, _lstm_backward, _alike)
"""`c' = f c + i g`, `h' = o tanh(c')`. Carry: (h, c). Gates: input i, forget f, output o, new g.

Source: Hochreiter & Schmidhuber (1997); Gers et al. (2000).
"""


def _nbrc_forward(drive: Gates, hidden: Gates, carry: States) -> tuple[States, Gates]:
    (state,) = carry
    feedback = jnp.tanh(drive[0] + hidden[0])
    keep = jax.nn.sigmoid(drive[1] + hidden[1])
    new = jnp.tanh(drive[2] + (1 + feedback) * state)
    return (new + keep * (state - new),), (feedback, keep, new)


def _nbrc_backward(kept: Gates, before: States, after: States) -> tuple[Gates, States]:
    (feedback, keep, new), (state,), (d_state,) = kept, before, after
    d_new = _through_tanh(new, d_state * (1 - keep))
    d_keep = _through_sigmoid(keep, d_state * (state - new))
    d_drive = (_through_tanh(feedback, d_new * state), d_keep, d_new)
    return d_drive, (d_state * keep + d_new * (1 + feedback),)


def _nbrc_state_share(kept: Gates, d_drive: Gates) -> Gates:
    return d_drive[:2]


NBRC_CELL = Cell(_nbrc_forward, _nbrc_backward, _nbrc_state_share)
"""`h' = (1 - c) tanh(U x + a h) + c h` with the feedback `a = 1 + tanh(..)` and `c = sigmoid(..)` of x and h.

The state's share is of the feedback and of c alone.
Source: Vecoven, Ernst & Drion (2021), the recurrently neuromodulated bistable recurrent cell (nBRC).
"""
