"""What a sequence backbone is: a carry, one step, and the same over a whole rollout."""

from __future__ import annotations

from typing import Any, Protocol

import jax
import jax.numpy as jnp
from jax import Array


class Memory(Protocol):
    """A frozen, hashable description of shapes; weights and carries are pytrees.

    `unroll` equals repeated `step`. Where `first` is true the input begins an episode: nothing that was carried
    reaches this output or a later one, and no gradient crosses. Batches are explicit: B sequences run side by side.
    """

    @property
    def reach(self) -> int | None:
        """How many observations the output may depend on, this one included; None: all of the episode so far."""
        ...

    def features(self, inputs: int) -> int:
        """The size F of the output for inputs of this size."""
        ...

    def for_horizon(self, horizon: int) -> Memory:
        """The memory with every static length that must hold a whole episode made long enough."""
        ...

    def init(self, key: Array, inputs: int) -> Any:
        """Weights for inputs of this size."""
        ...

    def initialise(self, weights: Any, batch: int) -> Any:
        """The carry [B, ...] before an episode."""
        ...

    def step(self, weights: Any, carry: Any, x: Array, first: Array) -> tuple[Any, Array]:
        """Args: x: [B, I]; first: [B] bool. Returns: the carry, and features [B, F]."""
        ...

    def unroll(self, weights: Any, carry: Any, xs: Array, firsts: Array) -> tuple[Any, Array]:
        """Args: xs: [T, B, I]; firsts: [T, B] bool. Returns: the carry after the last step, and features [T, B, F]."""
        ...


def kernel(key: Array, inputs: int, *outputs: int) -> Array:
    """Weights [I, ...] that keep the variance of their inputs. Drawn elementwise: no orthogonal factor, no LAPACK."""
    return jax.random.normal(key, (inputs, *outputs)) / inputs**0.5


def cleared(carry: Any, first: Array) -> Any:
    """The carry [B, ...], zero where an episode begins."""
    return jax.tree.map(lambda leaf: jnp.where(_like(first, leaf), jnp.zeros_like(leaf), leaf), carry)


def _like(flag: Array, leaf: Array) -> Array:
    return flag.reshape(flag.shape + (1,) * (leaf.ndim - flag.ndim))
