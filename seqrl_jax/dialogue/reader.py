"""A network that reads a dialogue symbol by symbol, and says after each what it thinks of what may be said next."""

from __future__ import annotations

from typing import Annotated

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array
from msgspec import Meta

from seqrl_jax.networks.base import Memory
from seqrl_jax.networks.layers import Dense
from seqrl_jax.networks.module import Carry, Module, Weights
from seqrl_jax.networks.recurrent import GRU

Outputs = dict[str, Array]
"""Of each head, [T, B, outputs]: after symbols 0 ... t, of symbol t + 1."""
DropoutRate = Annotated[float, Meta(ge=0, lt=1)]
DROPS = "dropout"
"""The name of the random numbers by which features are dropped; without them none is."""


class Reader(Module):
    """Last layers start at zero.

    Attributes:
        symbols: V. heads: names and numbers of outputs. memory: the backbone.
        conditions: into how many classes a condition falls that is read beside every symbol (0: there is none).
        dropout: the share of the backbone's features that is dropped, where any are.
    """

    symbols: int
    heads: tuple[tuple[str, int], ...]
    memory: Memory = GRU(64)
    conditions: int = 0
    dropout: DropoutRate = 0.0

    @nn.compact
    def __call__(
        self, carry: Carry, symbol: Array, first: Array, condition: Array | None = None
    ) -> tuple[Carry, Outputs]:
        """Args: symbol, condition: [T, B] int32. first: [T, B] bool, where a dialogue begins.
        Returns: the carry after them, and outputs."""
        parts = [jax.nn.one_hot(symbol, self.symbols)]
        if self.conditions:
            parts.append(jax.nn.one_hot(condition, self.conditions))
        codes = tuple(part * len(parts) ** -0.5 for part in parts)
        carry, features = self.memory(carry, codes, first)
        if self.has_rng(DROPS):
            keep = jax.random.bernoulli(self.make_rng(DROPS), 1 - self.dropout, features.shape)
            features = jnp.where(keep, features / (1 - self.dropout), 0.0)
        dense = lambda name, size: Dense(size, kernel_init=nn.initializers.zeros, name=name)(features)
        return carry, {name: dense(name, size) for name, size in self.heads}


def first_weights(reader: Reader, key: Array) -> Weights:
    """The reader's weights before any training."""
    nothing = jnp.zeros((1, 1), jnp.int32)
    return reader.init(key, reader.memory.initial_carry(1), nothing, jnp.ones((1, 1), bool), nothing)


def read_on(
    reader: Reader, weights: Weights, carry: Carry, symbol: Array, first: Array, condition: Array | None = None
) -> tuple[Carry, Outputs]:
    """The carry after a part of dialogues [T, B], and outputs [B, n] behind it."""
    carry, outputs = reader.apply(weights, carry, symbol, first, condition)
    return carry, {name: leaf[-1] for name, leaf in outputs.items()}


def predictions(
    reader: Reader, weights: Weights, symbol: Array, condition: Array | None = None, drop_key: Array | None = None
) -> Outputs:
    """Outputs [T - 1, B, ...] of the symbols 1 ... T - 1 of whole dialogues [T, B], each after those before it.

    Args: condition: [T - 1, B], what is read beside them. drop_key: of what is dropped; None: nothing is.
    """
    first = jnp.zeros(symbol.shape, bool).at[0].set(True)
    # One place more is read than is decided at.
    whole = None if condition is None else jnp.concatenate([condition[:1], condition])
    rngs = None if drop_key is None else {DROPS: drop_key}
    carry = reader.memory.initial_carry(symbol.shape[1])
    outputs = reader.apply(weights, carry, symbol, first, whole, rngs=rngs)[1]
    return {name: leaf[:-1] for name, leaf in outputs.items()}
