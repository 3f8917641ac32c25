"""The short fixed history: the last k inputs side by side, and sums of them."""

from __future__ import annotations

import flax.linen as nn
import jax.numpy as jnp
from jax import Array

from seqrl_jax.networks.base import Memory
from seqrl_jax.networks.layers import DENSE_INIT, Codes, Dense, InputDense
from seqrl_jax.networks.module import Carry
from seqrl_jax.settings import Depth, Width


def recent(before: Array, inputs: Array, firsts: Array) -> tuple[Array, list[Array]]:
    """What each step sees of the last k inputs of its episode, this one included; zeros where the episode is younger.

    Args: before: [B, k - 1, F], what the carry holds. inputs: [T, B, F]. firsts: [T, B] bool.
    Returns: what the next carry holds, [B, k - 1, F], and k arrays [T, B, F], the oldest input first.
    """
    length, ago = firsts.shape[0], before.shape[1]
    every = jnp.concatenate([before.swapaxes(0, 1), inputs])
    episode = jnp.cumsum(jnp.concatenate([jnp.zeros((ago, firsts.shape[1]), bool), firsts]), 0)
    visible = lambda start, stop, now: jnp.where((episode[start:stop] == now)[..., None], every[start:stop], 0.0)
    after = visible(length, length + ago, episode[-1:])
    return after.swapaxes(0, 1), [visible(start, start + length, episode[ago:]) for start in range(ago + 1)]


class Window(Memory):
    """Two tanh layers over embeddings of the last `window` inputs, zeros where the episode is younger.

    Carry: [B, window - 1, width].
    """

    window: Depth = 2
    width: Width = 32

    @property
    def reach(self) -> int:
        return self.window

    @nn.nowrap
    def initial_carry(self, batch: int) -> Carry:
        return jnp.zeros((batch, self.window - 1, self.width))

    @nn.compact
    def unroll(self, carry: Carry, xs: Codes, firsts: Array) -> tuple[Carry, Array]:
        after, seen = recent(carry, InputDense(self.width, use_bias=False)(xs), firsts)
        hidden = nn.tanh(Dense(self.width, kernel_init=DENSE_INIT)(jnp.concatenate(seen, -1)))
        return after, nn.tanh(Dense(self.width, kernel_init=DENSE_INIT)(hidden))


class ShortConvolution(nn.Module):
    """A causal convolution of each channel by itself, over the last `size` inputs of the episode.

    `y_t = bias + sum_k kernel_k x_{t - (size - 1) + k}`: a carry [B, size - 1, F] and inputs [T, B, F] -> the carry,
    and [T, B, F].
    """

    size: int

    @nn.compact
    def __call__(self, carry: Array, inputs: Array, firsts: Array) -> tuple[Array, Array]:
        kernel = self.param("kernel", DENSE_INIT, (self.size, inputs.shape[-1]))
        bias = self.param("bias", nn.initializers.zeros, inputs.shape[-1:])
        after, seen = recent(carry, inputs, firsts)
        return after, bias + sum(weight * part for weight, part in zip(kernel, seen, strict=True))
