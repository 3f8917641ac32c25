"""The transformer whose residual places are gates, which learns from rewards where the plain one is unstable."""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jax import Array

from seqrl_jax.networks.attention import Block, Transformer
from seqrl_jax.networks.layers import DENSE_INIT, Dense
from seqrl_jax.settings import Number


class GatedResidual(nn.Module):
    """How much of an update y enters the stream x: both [..., width] -> [..., width].

    `x' = (1 - z) x + z h` with `r = sigmoid(W_r y + U_r x)`, `z = sigmoid(W_z y + U_z x - b)` and
    `h = tanh(W_g y + U_g (r x))`. Source: Parisotto et al. (2020), sec. 3.2, the gating of the GRU type.
    """

    bias: float

    @nn.compact
    def __call__(self, stream: Array, update: Array) -> Array:
        width = stream.shape[-1]
        linear = lambda size, name: Dense(size, use_bias=False, kernel_init=DENSE_INIT, name=name)
        bias = self.param("bias", nn.initializers.constant(self.bias), (width,))
        reset_y, move_y, new_y = jnp.split(linear(3 * width, "update")(update), 3, -1)
        reset_x, move_x = jnp.split(linear(2 * width, "stream")(stream), 2, -1)
        reset, move = nn.sigmoid(reset_y + reset_x), nn.sigmoid(move_y + move_x - bias)
        new = nn.tanh(new_y + linear(width, "reset_stream")(reset * stream))
        return stream + move * (new - stream)


class GatedBlock(Block):
    """A block of attention with gates in place of its two sums. Source: Parisotto et al. (2020), fig. 1, right."""

    gate_bias: float

    def joined(self, stream: Array, update: Array, name: str) -> Array:
        return GatedResidual(self.gate_bias, name=name)(stream, nn.relu(update))


class GTrXL(Transformer):
    """A transformer over this step and the `context` before it, gated where others add.

    What is carried are keys and values of the episode's steps, not hidden states of earlier segments, and a step is
    shown its time in the episode, not its distance to others: a rollout then equals its steps, however it is cut.

    Attributes: gate_bias: b_g, by which blocks begin near the identity.
    Source: Parisotto et al. (2020); Dai et al. (2019) for the memory of earlier segments.
    """

    gate_bias: Number = 2.0

    block = GatedBlock

    @property
    def block_settings(self) -> dict[str, Any]:
        return {**super().block_settings, "gate_bias": self.gate_bias}
