"""A network that reads a dialogue symbol by symbol, and says after each what it thinks of what may be said next."""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array

from seqrl_jax.networks.base import Memory
from seqrl_jax.networks.module import Carry, Module, Weights
from seqrl_jax.networks.recurrent import GRU

Outputs = dict[str, Array]
"""Of each head, [T, B, outputs]: after symbols 0 ... t, of symbol t + 1."""


class Reader(Module):
    """Last layers start at zero.

    Attributes:
        symbols: V. heads: names and numbers of outputs. memory: the backbone.
        conditions: into how many classes a condition falls that is read beside every symbol (0: there is none).
    """

    symbols: int
    heads: tuple[tuple[str, int], ...]
    memory: Memory = GRU(64)
    conditions: int = 0

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
        dense = lambda name, size: nn.Dense(size, kernel_init=nn.initializers.zeros, name=name)(features)
        return carry, {name: dense(name, size) for name, size in self.heads}


def first_weights(reader: Reader, key: Array) -> Weights:
    """The reader's weights before any training."""
    nothing = jnp.zeros((1, 1), jnp.int32)
    return reader.init(key, reader.memory.initial_carry(1), nothing, jnp.ones((1, 1), bool), nothing)


def read(reader: Reader, weights: Weights, symbol: Array, condition: Array | None = None) -> Outputs:
    """Outputs along whole dialogues [T, B]."""
    first = jnp.zeros(symbol.shape, bool).at[0].set(True)
    return reader.apply(weights, reader.memory.initial_carry(symbol.shape[1]), symbol, first, condition)[1]


def predictions(reader: Reader, weights: Weights, symbol: Array, condition: Array | None = None) -> Outputs:
    """Outputs [T - 1, B, ...] of the symbols 1 ... T - 1 of whole dialogues [T, B], each after those before it.

    Args: condition: [T - 1, B], what is read beside them.
    """
    # One place more is read than is decided at.
    whole = None if condition is None else jnp.concatenate([condition[:1], condition])
    return {name: leaf[:-1] for name, leaf in read(reader, weights, symbol, whole).items()}
