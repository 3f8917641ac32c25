"""Backbones that remember nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from seqrl_jax.memory.base import Block, kernel
from seqrl_jax.naming import check
from seqrl_jax.settings import Width


@dataclass(frozen=True)
class Table:
    """The input itself: a linear function of it is one free number per observation and output."""

    @property
    def reach(self) -> int:
        return 1

    def features(self, inputs: int) -> int:
        return inputs

    def for_horizon(self, horizon: int) -> Table:
        return self

    def init(self, key: Array, inputs: Sequence[Block]) -> Any:
        return {}

    def initialise(self, weights: Any, batch: int) -> Any:
        return ()

    def step(self, weights: Any, carry: Any, x: Array, first: Array) -> tuple[Any, Array]:
        return carry, x

    def unroll(self, weights: Any, carry: Any, xs: Array, firsts: Array) -> tuple[Any, Array]:
        return carry, xs


@dataclass(frozen=True)
class FeedForward:
    """Two hidden layers of `width` tanh units over the current input."""

    width: Width = 64

    def __post_init__(self) -> None:
        check(self)

    @property
    def reach(self) -> int:
        return 1

    def features(self, inputs: int) -> int:
        return self.width

    def for_horizon(self, horizon: int) -> FeedForward:
        return self

    def init(self, key: Array, inputs: Sequence[Block]) -> Any:
        first, second = jax.random.split(key)
        return {
            "first": kernel(first, inputs, self.width),
            "first_bias": jnp.zeros(self.width),
            "second": kernel(second, self.width, self.width),
            "second_bias": jnp.zeros(self.width),
        }

    def initialise(self, weights: Any, batch: int) -> Any:
        return ()

    def step(self, weights: Any, carry: Any, x: Array, first: Array) -> tuple[Any, Array]:
        hidden = jnp.tanh(x @ weights["first"] + weights["first_bias"])
        return carry, jnp.tanh(hidden @ weights["second"] + weights["second_bias"])

    def unroll(self, weights: Any, carry: Any, xs: Array, firsts: Array) -> tuple[Any, Array]:
        return self.step(weights, carry, xs, firsts)
