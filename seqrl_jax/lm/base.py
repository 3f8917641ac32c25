"""What a language model says of completions: distributions of tokens, and log-probabilities."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import jax.numpy as jnp
from jax import Array

from seqrl_jax.networks.language_model import LanguageModel
from seqrl_jax.networks.module import Weights

if TYPE_CHECKING:
    from seqrl_jax.networks.distributions import Categorical

Reward = Callable[[Array, Array], Array]
"""(prompt [B, P], tokens [B, L]) -> reward [B]."""


def token_distribution(logits: Array) -> Categorical:
    """The distribution of tokens [...] with these logits [..., V]."""
    # distrax takes half a second to import, which a list of all methods need not wait for.
    from seqrl_jax.networks.distributions import Categorical

    return Categorical(logits)


def token_log_probs(model: LanguageModel, weights: Weights, prompt: Array, completion: Array) -> Array:
    """[B, L]: log pi(y_t | x, y_<t) of completions [B, L] behind prompts [B, P], in nats."""
    return token_distribution(completion_logits(model, weights, prompt, completion)).log_prob(completion)


def completion_logits(model: LanguageModel, weights: Weights, prompt: Array, completion: Array) -> Array:
    """[B, L, V]: what the model expects at each place of completions [B, L] behind prompts [B, P], P at least 1."""
    return model.apply(weights, completion_hidden(model, weights, prompt, completion), method="logits")


def completion_hidden(model: LanguageModel, weights: Weights, prompt: Array, completion: Array) -> Array:
    """[B, L, D]: hidden states before each token of completions [B, L] behind prompts [B, P], P at least 1."""
    tokens = jnp.concatenate([prompt, completion[:, :-1]], 1)
    return model.apply(weights, tokens, method="hidden")[:, prompt.shape[1] - 1 :]
