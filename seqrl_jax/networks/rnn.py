"""A recurrent language model: a memory of what was read, behind the same interface as the transformer."""

from __future__ import annotations

import flax.linen as nn
import jax.numpy as jnp
from jax import Array

from seqrl_jax.networks.base import Memory
from seqrl_jax.networks.language_model import LanguageModel
from seqrl_jax.networks.module import Carry
from seqrl_jax.networks.recurrent import GRU
from seqrl_jax.settings import Width


class RNN(LanguageModel):
    """Embedded tokens through a memory whose outputs are as wide as the embedding, which is also the output layer.

    Attributes: vocabulary: V. width: D. memory: any backbone with outputs [..., D].
    """

    width: Width = 32
    memory: Memory = GRU(32)

    def setup(self) -> None:
        # Rows of norm one: what a memory reads, and an output layer that keeps the size of hidden states.
        self.wte = nn.Embed(self.vocabulary, self.width, embedding_init=nn.initializers.normal(self.width**-0.5))

    @nn.nowrap
    def initial_carry(self, batch: int, length: int) -> Carry:
        return self.memory.initial_carry(batch)

    def hidden(self, tokens: Array) -> Array:
        return self.read(self.initial_carry(*tokens.shape), tokens)[1]

    def read(self, carry: Carry, tokens: Array, begins: Array | None = None) -> tuple[Carry, Array]:
        embedded = self.wte(tokens.swapaxes(0, 1))
        starts = jnp.zeros(embedded.shape[:2], bool)
        if begins is not None:
            starts = jnp.arange(len(embedded))[:, None] == begins
        carry, outputs = self.memory(carry, (embedded,), starts)
        if outputs.shape[-1] != self.width:
            raise ValueError(f"the memory's outputs are {outputs.shape[-1]} wide, the embedding {self.width}")
        return carry, outputs.swapaxes(0, 1)

    def logits(self, hidden: Array) -> Array:
        return self.wte.attend(hidden)
