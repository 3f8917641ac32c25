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
) -> Completions:
    """Draw L tokens behind each of prompts [B, P], P at least 1, or fewer where the token `end` is drawn."""
    size = prompt.shape[1]
    tokens = jnp.pad(prompt, ((0, 0), (0, length)))
    behind = jnp.broadcast_to(jnp.arange(1, size + length) >= size, (len(prompt), size + length - 1))
    filled = fill(model, weights, key, tokens, behind, end, temperature, given=size)
    return jax.tree.map(lambda leaf: leaf[:, size - 1 :], filled)


def fill(
    model: LanguageModel,
    weights: Weights,
    key: Array,
    tokens: Array,
    mask: Array,
    end: int | None = None,
    temperature: float | Array = 1.0,
    given: int = 1,
) -> Completions:
    """Draw the missing tokens of texts [B, T + 1], whose prompts may differ in length.

    Args: mask: [B, T], which of tokens[:, 1:] are missing; the others are read as they stand, except that `end` follows
        a drawn `end`. given: how many tokens stand at the beginning of every text; these are read in one pass.
    Returns: what stands at tokens[:, 1:] then, [B, T].
    """
    tokens = tokens.astype(jnp.int32)
    carry = model.initial_carry(tokens.shape[0], mask.shape[1])
    if given > 1:
        carry, _ = model.apply(weights, carry, tokens[:, : given - 1], method="read")

    def step(
        state: tuple[Carry, Array, Array], place: tuple[Array, Array, Array]
    ) -> tuple[tuple[Carry, Array, Array], Completions]:
        carry, token, ended = state
        key, written, missing = place
        carry, hidden = model.apply(weights, carry, token[:, None], method="read")
        following = token_distribution(model.apply(weights, hidden[:, 0], method="logits") / temperature)
        drawing = missing & ~ended
        token = jnp.where(drawing, following.sample(seed=key), written)
        log_prob = jnp.where(drawing, following.log_prob(token), 0.0)
        if end is not None:
            token = jnp.where(ended, end, token)
            ended = ended | (drawing & (token == end))
        return (carry, token, ended), Completions(token, drawing, log_prob)

    start = (carry, tokens[:, given - 1], jnp.zeros(len(tokens), bool))
    keys = jax.random.split(key, tokens.shape[1] - given)
    _, drawn = jax.lax.scan(step, start, (keys, tokens[:, given:].T, mask[:, given - 1 :].T))
    before = tokens[:, 1:given]
    read = Completions(before, jnp.zeros(before.shape, bool), jnp.zeros(before.shape))
    return jax.tree.map(lambda first, later: jnp.concatenate([first, later.T], 1), read, drawn)


def drawn_mask(tokens: Array, end: int | None) -> Array:
    """[..., L] bool: which of tokens [..., L] belong to the completion, up to and with the first `end`."""
    if end is None:
        return jnp.ones(tokens.shape, bool)
    is_end = tokens == end
    ends = jnp.cumsum(is_end, -1)
    return (ends == 0) | (is_end & (ends == 1))
