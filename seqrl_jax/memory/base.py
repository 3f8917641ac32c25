"""What a sequence backbone is: a carry, one step, and the same over a whole rollout."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
from jax import Array


class Block(NamedTuple):
    """A part of an input vector: `size` numbers, of which `active` are not zero at once.

    A one-hot code of K symbols is `Block(K, 1)`. Weights drawn by blocks depend neither on how many symbols a code has
    room for nor on what stands beside it.
    """

    size: int
    active: int


def dense(size: int) -> tuple[Block]:
    """The blocks of a vector none of whose numbers is zero as a rule."""
    return (Block(size, size),)


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

    def init(self, key: Array, inputs: Sequence[Block]) -> Any:
        """Weights for inputs made of these blocks."""
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


def kernel(key: Array, inputs: Sequence[Block] | int, outputs: int) -> Array:
    """Weights [I, outputs] that keep the variance of their inputs. Drawn elementwise: no orthogonal factor, no LAPACK.

    Each block has a key of its own and so has each of its rows: a block that is padded at its end draws the same
    numbers for what it had before.
    """
    if isinstance(inputs, int):
        return jax.random.normal(key, (inputs, outputs)) / inputs**0.5
    keys = jax.random.split(key, len(inputs))
    rows = [numbered(key, block.size) for key, block in zip(keys, inputs, strict=True)]
    drawn = jax.vmap(lambda key: jax.random.normal(key, (outputs,)))(jnp.concatenate(rows))
    return drawn / sum(block.active for block in inputs) ** 0.5


def numbered(key: Array, count: int) -> Array:
    """[count] keys, the i-th of which does not depend on how many there are."""
    return jax.vmap(lambda number: jax.random.fold_in(key, number))(jnp.arange(count))


def total(inputs: Sequence[Block]) -> int:
    """How many numbers blocks hold together."""
    return sum(block.size for block in inputs)


def cleared(carry: Any, first: Array) -> Any:
    """The carry [B, ...], zero where an episode begins."""
    return jax.tree.map(lambda leaf: jnp.where(_like(first, leaf), jnp.zeros_like(leaf), leaf), carry)


def _like(flag: Array, leaf: Array) -> Array:
    return flag.reshape(flag.shape + (1,) * (leaf.ndim - flag.ndim))
