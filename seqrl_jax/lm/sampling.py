"""Drawing completions: one compiled loop that carries the model's cache, and keeps what it drew with."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from seqrl_jax.lm.base import token_distribution
from seqrl_jax.networks.language_model import LanguageModel
from seqrl_jax.networks.module import Carry, Weights


class Completions(NamedTuple):
    """What was drawn behind B prompts.

    tokens: [B, L]; after the end-of-text token, that token again. mask: [B, L] bool, the drawn tokens, the end among
    them. log_prob: [B, L], of each drawn token under what it was drawn from; 0 where nothing was drawn.
    """

    tokens: Array
    mask: Array
    log_prob: Array


def sample(
    model: LanguageModel,
    weights: Weights,
    key: Array,
    prompt: Array,
    length: int,
    end: int | None = None,
    temperature: float | Array = 1.0,
    begins: Array | None = None,
) -> Completions:
    """Draw L tokens behind each of prompts [B, P], P at least 1, or fewer where the token `end` is drawn.

    Prompts are read in one pass. begins: [B], the place at which each begins, where they differ in length; None is 0.
    """
    carry = model.initial_carry(len(prompt), prompt.shape[1] + length - 1)
    carry, hidden = model.apply(weights, carry, prompt, begins, method="read")

    def draw(hidden: Array, ended: Array, key: Array) -> tuple[Completions, Array]:
        """A token behind each text. Returns: also which texts have ended now."""
        following = token_distribution(model.apply(weights, hidden, method="logits") / temperature)
        token = following.sample(seed=key)
        if end is not None:
            token = jnp.where(ended, end, token)
        drawn = Completions(token, ~ended, jnp.where(ended, 0.0, following.log_prob(token)))
        return drawn, ended if end is None else ended | (token == end)

    def step(state: tuple[Carry, Array, Array], key: Array) -> tuple[tuple[Carry, Array, Array], Completions]:
        carry, hidden, ended = state
        drawn, ended = draw(hidden, ended, key)
        carry, hidden = model.apply(weights, carry, drawn.tokens[:, None], method="read")
        return (carry, hidden[:, -1], ended), drawn

    # The last token is drawn, and not read.
    keys = jax.random.split(key, length)
    start = (carry, hidden[:, -1], jnp.zeros(len(prompt), bool))
    (_, hidden, ended), drawn = jax.lax.scan(step, start, keys[:-1])
    last, _ = draw(hidden, ended, keys[-1])
    return jax.tree.map(lambda before, leaf: jnp.concatenate([before, leaf[None]]).T, drawn, last)


def drawn_mask(tokens: Array, end: int | None) -> Array:
    """[..., L] bool: which of tokens [..., L] belong to the completion, up to and with the first `end`."""
    if end is None:
        return jnp.ones(tokens.shape, bool)
    is_end = tokens == end
    ends = jnp.cumsum(is_end, -1)
    return (ends == 0) | (is_end & (ends == 1))
