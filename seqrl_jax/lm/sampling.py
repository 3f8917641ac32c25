"""Drawing completions: one compiled loop that carries the model's cache, and keeps what it drew with."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from seqrl_jax.lm.base import LanguageModel, chosen


class Completions(NamedTuple):
    """What was drawn behind B prompts.

    tokens: [B, L]; after the end-of-text token, that token again. mask: [B, L] bool, the drawn tokens, the end among
    them. log_prob: [B, L], of each drawn token under the law that it was drawn from; 0 where nothing was drawn.
    """

    tokens: Array
    mask: Array
    log_prob: Array


def sample(
    model: LanguageModel,
    weights: Any,
    key: Array,
    prompt: Array,
    length: int,
    end: int | None = None,
    temperature: float | Array = 1.0,
) -> Completions:
    """Draw L tokens behind each of prompts [B, P], P at least 1, or fewer where the token `end` is drawn."""
    batch = prompt.shape[0]
    carry = model.initialise(weights, batch, prompt.shape[1] + length)
    carry, hidden = model.read(weights, carry, prompt)

    def step(state: tuple[Any, Array, Array], key: Array) -> tuple[tuple[Any, Array, Array], Completions]:
        carry, hidden, ended = state
        logits = model.logits(weights, hidden) / temperature
        token = jax.random.categorical(key, logits).astype(jnp.int32)
        log_prob = jnp.where(ended, 0.0, chosen(logits, token))
        after = ended
        if end is not None:
            token = jnp.where(ended, end, token)
            after = ended | (token == end)
        carry, hidden = model.read(weights, carry, token[:, None])
        return (carry, hidden[:, 0], after), Completions(token, ~ended, log_prob)

    start = (carry, hidden[:, -1], jnp.zeros(batch, bool))
    _, drawn = jax.lax.scan(step, start, jax.random.split(key, length))
    return jax.tree.map(lambda leaf: leaf.swapaxes(0, 1), drawn)


def drawn_mask(tokens: Array, end: int | None) -> Array:
    """[..., L] bool: which of tokens [..., L] belong to the completion, up to and with the first `end`."""
    if end is None:
        return jnp.ones(tokens.shape, bool)
    is_end = tokens == end
    ends = jnp.cumsum(is_end, -1)
    return (ends == 0) | (is_end & (ends == 1))
