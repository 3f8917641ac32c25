"""The short fixed history: the last k inputs side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from seqrl_jax.memory.base import Block, dense, kernel
from seqrl_jax.memory.feedforward import FeedForward
from seqrl_jax.naming import check
from seqrl_jax.settings import Depth, Width


@dataclass(frozen=True)
class Window:
    """Two tanh layers over the last `window` inputs, zeros where the episode is younger. Carry: [B, window - 1, I]."""

    window: Depth = 2
    width: Width = 64

    def __post_init__(self) -> None:
        check(self)

    @property
    def reach(self) -> int:
        return self.window

    def features(self, inputs: int) -> int:
        return self.width

    def for_horizon(self, horizon: int) -> Window:
        return self

    def init(self, key: Array, inputs: Sequence[Block]) -> Any:
        first, second = jax.random.split(key)
        layers = FeedForward(self.width).init(second, dense(1))
        return {**layers, "first": kernel(first, tuple(inputs) * self.window, self.width)}

    def initialise(self, weights: Any, batch: int) -> Any:
        return jnp.zeros((batch, self.window - 1, weights["first"].shape[0] // self.window))

    def step(self, weights: Any, carry: Any, x: Array, first: Array) -> tuple[Any, Array]:
        carry, y = self.unroll(weights, carry, x[None], first[None])
        return carry, y[0]

    def unroll(self, weights: Any, carry: Any, xs: Array, firsts: Array) -> tuple[Any, Array]:
        length, before = xs.shape[0], self.window - 1
        inputs = jnp.concatenate([carry.swapaxes(0, 1), xs])
        begun = jnp.cumsum(jnp.concatenate([jnp.zeros((before, xs.shape[1]), bool), firsts]), 0)
        seen = jnp.concatenate(
            [
                jnp.where((begun[ago : ago + length] == begun[before:])[..., None], inputs[ago : ago + length], 0)
                for ago in range(self.window)
            ],
            -1,
        )
        kept = jnp.where((begun[length:] == begun[-1])[..., None], inputs[length:], 0)
        return kept.swapaxes(0, 1), FeedForward(self.width).step(weights, (), seen, firsts)[1]
