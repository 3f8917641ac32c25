"""The short fixed history: the last k inputs side by side."""

from __future__ import annotations

import flax.linen as nn
import jax.numpy as jnp
from jax import Array

from seqrl_jax.networks.base import DENSE_INIT, Codes, InputDense, Memory
from seqrl_jax.networks.module import Carry
from seqrl_jax.settings import Depth, Width


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
    def __call__(self, carry: Carry, xs: Codes, firsts: Array) -> tuple[Carry, Array]:
        length, before = firsts.shape[0], self.window - 1
        embedded = InputDense(self.width, use_bias=False)(xs)
        inputs = jnp.concatenate([carry.swapaxes(0, 1), embedded])
        episode = jnp.cumsum(jnp.concatenate([jnp.zeros((before, firsts.shape[1]), bool), firsts]), 0)
        visible = lambda start, stop, now: jnp.where((episode[start:stop] == now)[..., None], inputs[start:stop], 0.0)
        window = jnp.concatenate([visible(ago, ago + length, episode[before:]) for ago in range(self.window)], -1)
        after = visible(length, length + before, episode[-1:])
        hidden = nn.tanh(nn.Dense(self.width, kernel_init=DENSE_INIT)(window))
        return after.swapaxes(0, 1), nn.tanh(nn.Dense(self.width, kernel_init=DENSE_INIT)(hidden))
