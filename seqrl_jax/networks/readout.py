"""What stands behind a memory that is linear in its state."""

from __future__ import annotations

import flax.linen as nn
from jax import Array

from seqrl_jax.networks.layers import DENSE_INIT, Codes, Dense, InputDense


class Readout(nn.Module):
    """A nonlinear function of a linear memory's state and its input, `gelu((C h + D x) / sqrt(2))`: [..., width].

    It is what a block's output layer and residual are in a stack of such memories.
    """

    width: int

    @nn.compact
    def __call__(self, state: Array, xs: Codes) -> Array:
        of_state = Dense(self.width, use_bias=False, kernel_init=DENSE_INIT, name="state")(state)
        return nn.gelu((of_state + InputDense(self.width, name="input")(xs)) * 2**-0.5)
