"""A recurrent language model: a memory of what was read, behind the same interface as the transformer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from seqrl_jax.memory import GRU, Memory
from seqrl_jax.memory.base import dense, kernel
from seqrl_jax.naming import check
from seqrl_jax.settings import Count


@dataclass(frozen=True)
class RNN:
    """Embedded tokens through a memory whose features are as wide as the embedding, which is also the output layer.

    Attributes: vocabulary: V. memory: any recurrent backbone, its features D wide.
    """

    vocabulary: Count
    memory: Memory = GRU(32)

    def __post_init__(self) -> None:
        check(self)

    @property
    def width(self) -> int:
        return self.memory.features(self.vocabulary)

    def init(self, key: Array) -> Any:
        embed_key, memory_key = jax.random.split(key)
        return {
            "wte": {"weight": kernel(embed_key, self.width, self.vocabulary).T},
            "memory": self.memory.init(memory_key, dense(self.width)),
        }

    def initialise(self, weights: Any, batch: int, length: int) -> Any:
        return self.memory.initialise(weights["memory"], batch)

    def read(self, weights: Any, carry: Any, tokens: Array) -> tuple[Any, Array]:
        embedded = weights["wte"]["weight"][tokens.swapaxes(0, 1)]
        never = jnp.zeros(embedded.shape[:2], bool)
        carry, features = self.memory.unroll(weights["memory"], carry, embedded, never)
        return carry, features.swapaxes(0, 1)

    def hidden(self, weights: Any, tokens: Array) -> Array:
        return self.read(weights, self.initialise(weights, *tokens.shape), tokens)[1]

    def logits(self, weights: Any, hidden: Array) -> Array:
        return jnp.einsum("...d,vd->...v", hidden, weights["wte"]["weight"])
