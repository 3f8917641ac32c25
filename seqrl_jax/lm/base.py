"""What a language model is: weights, a carry, and hidden states along tokens."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import jax
import jax.numpy as jnp
from jax import Array

Reward = Callable[[Array, Array], Array]
"""(prompt [B, P], tokens [B, L]) -> reward [B]."""


class LanguageModel(Protocol):
    """A frozen, hashable description of shapes; weights and carries are pytrees.

    Batches are explicit: B texts are read side by side, all of one length. `read` of a text equals `read` of its parts
    one after another, so that sampling and training see the same model.
    """

    @property
    def vocabulary(self) -> int:
        """V: tokens are 0 ... V - 1."""
        ...

    @property
    def width(self) -> int:
        """D: the size of a hidden state."""
        ...

    def init(self, key: Array) -> Any:
        """Weights."""
        ...

    def initialise(self, weights: Any, batch: int, length: int) -> Any:
        """The carry [B, ...] of a model that has read nothing and will read at most `length` tokens."""
        ...

    def read(self, weights: Any, carry: Any, tokens: Array) -> tuple[Any, Array]:
        """Args: tokens [B, T]. Returns: the carry after them, and the hidden state after each [B, T, D]."""
        ...

    def hidden(self, weights: Any, tokens: Array) -> Array:
        """[B, T, D]: `read` from the beginning, without a carry to go on from."""
        ...

    def logits(self, weights: Any, hidden: Array) -> Array:
        """[..., V] float32: of the next token, from hidden states [..., D]."""
        ...


def next_token_logits(model: LanguageModel, weights: Any, tokens: Array) -> Array:
    """[B, T, V]: after each of tokens [B, T]."""
    return model.logits(weights, model.hidden(weights, tokens))


def token_log_probs(model: LanguageModel, weights: Any, prompt: Array, completion: Array) -> Array:
    """[B, L]: log pi(y_t | x, y_<t) of completions [B, L] behind prompts [B, P], in nats."""
    return chosen(completion_logits(model, weights, prompt, completion), completion)


def completion_logits(model: LanguageModel, weights: Any, prompt: Array, completion: Array) -> Array:
    """[B, L, V]: what the model expects at each place of completions [B, L] behind prompts [B, P], P at least 1."""
    tokens = jnp.concatenate([prompt, completion[:, :-1]], 1)
    return model.logits(weights, model.hidden(weights, tokens)[:, prompt.shape[1] - 1 :])


def chosen(logits: Array, tokens: Array) -> Array:
    """[...]: the log-probabilities of tokens [...] under logits [..., V]."""
    return jnp.take_along_axis(jax.nn.log_softmax(logits), tokens[..., None], -1)[..., 0]
