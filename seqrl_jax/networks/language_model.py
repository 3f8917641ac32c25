"""What a language model is: hidden states along tokens, and logits of the token that follows."""

from __future__ import annotations

from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array

from seqrl_jax.networks.module import Carry, Module, Weights
from seqrl_jax.settings import Count


class LanguageModel(Module):
    """B texts are read side by side, all of one length: `model.apply(weights, tokens)` gives the logits behind each
    token, `model.apply(weights, ..., method="read")` and so on what the other methods give.

    `read` of a text equals `read` of its parts one after another, and its hidden states are those of `hidden`, so that
    sampling and training see the same model.

    Attributes: vocabulary: V; tokens are 0 ... V - 1.
    """

    vocabulary: Count

    @property
    def width(self) -> int:
        """D: the size of a hidden state."""
        raise NotImplementedError

    @nn.nowrap
    def initial_weights(self, key: Array) -> Weights:
        """Weights before training. They depend on shapes alone: no forward pass is computed for them."""
        return _initial_weights(self, key)

    @nn.nowrap
    def initial_carry(self, batch: int, length: int) -> Carry:
        """The carry [B, ...] of a model that has read nothing and will read at most `length` tokens."""
        raise NotImplementedError

    def __call__(self, tokens: Array) -> Array:
        """[B, T, V] float32: logits of the next token, after each of tokens [B, T]."""
        return self.logits(self.hidden(tokens))

    def hidden(self, tokens: Array) -> Array:
        """[B, T, D]: the hidden state after each of tokens [B, T], from the beginning."""
        raise NotImplementedError

    def read(self, carry: Carry, tokens: Array, begins: Array | None = None) -> tuple[Carry, Array]:
        """Go on with tokens [B, T].

        Args: begins: [B], of a first read, the place among these tokens at which each text begins; what stands before
            it counts for nothing. None is 0.
        Returns: the carry after them, and the hidden state after each [B, T, D].
        """
        raise NotImplementedError

    def logits(self, hidden: Array) -> Array:
        """[..., V] float32: of the next token, from hidden states [..., D]."""
        raise NotImplementedError

    @nn.nowrap
    def last_block(self, weights: Weights) -> Weights:
        """The weights of the last block. Raises: ValueError where the model has no blocks."""
        raise ValueError("only a transformer has a last block")

    @nn.nowrap
    def with_last_block(self, weights: Weights, block: Weights) -> Weights:
        """The weights with other ones in the last block."""
        raise ValueError("only a transformer has a last block")


@partial(jax.jit, static_argnums=0)
def _initial_weights(model: LanguageModel, key: Array) -> Weights:
    return model.lazy_init(key, jax.ShapeDtypeStruct((1, 1), jnp.int32))
