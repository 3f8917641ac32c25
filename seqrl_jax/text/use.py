"""What a model that was trained here, or another in GPT-2's layout, says and scores."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from seqrl_jax.keys import key_of
from seqrl_jax.lm.base import token_distribution
from seqrl_jax.lm.sampling import sample
from seqrl_jax.networks.gpt import GPT
from seqrl_jax.networks.module import Weights
from seqrl_jax.text.chat import Message
from seqrl_jax.text.corpus import scan
from seqrl_jax.text.encoding import batches_of
from seqrl_jax.text.judge import ANY_NUMBER, NEGATIVE, Summary, share, summary
from seqrl_jax.text.losses import scores
from seqrl_jax.text.vocabulary import begun, written
from seqrl_jax.text.weights import HEAD, load_gpt, load_head, load_vocabulary

AT_ONCE = 16
"""Examples that are scored in a batch."""
USUAL = 100
"""Tokens that are drawn at most where nobody says how many."""


def continuations(
    directory: Path,
    prompt: str,
    length: int | None = None,
    count: int = 1,
    temperature: float = 1.0,
    seed: int = 0,
    chat: bool = False,
) -> list[str]:
    """What the model of a directory says behind a prompt, `count` times, until it ends or has said `length` tokens.

    Args: length: None for `USUAL`, or fewer where the model reads fewer. chat: the prompt is what a user says, written
    as the model's chat template has it; else it stands as it is.
    Raises: ValueError where the directory holds a reward model or no model, or has no room for so many tokens;
    DataError where the chat template cannot write the prompt.
    """
    if (directory / HEAD).exists():
        raise ValueError(f"{directory}: a reward model says nothing; it scores")
    model, weights = load_gpt(directory)
    vocabulary = load_vocabulary(directory)
    if chat:
        prompt = vocabulary.chat([Message("user", prompt)], True)
    read = np.concatenate([[vocabulary.end], begun(vocabulary, prompt)]).astype(np.int32)
    if length is None:
        length = max(1, min(USUAL, model.context - len(read)))
    if len(read) + length > model.context:
        raise ValueError(f"{len(read)} tokens of the prompt and {length} more, and the model reads {model.context}")
    prompts = np.tile(read, (count, 1))
    draw = jax.jit(sample, static_argnums=(0, 4, 5))
    drawn = draw(model, weights, key_of(seed), prompts, length, vocabulary.end, jnp.float32(temperature))
    return [written(vocabulary, row) for row in np.asarray(drawn.tokens)]


class Scores(NamedTuple):
    """Of N examples with K answers each, in the order of their data.

    what: `reward`, what a reward model says; `log_prob`, in nats, what a language model says. values: [N, K]. mean: of
    the first answers, over prompts. preferred: how often what was chosen has the larger value; None without pairs.
    truncated: examples that are longer than the model's context, which are cut. skipped: bad lines that were left out,
    so that no value is theirs. remarks: what else of the data was not read as it stands, in lines.
    """

    what: str
    values: list[list[float]]
    mean: Summary
    preferred: Summary | None
    truncated: int
    skipped: int
    remarks: list[str]


def scored(directory: Path, data: Path, skip_bad: bool = False) -> Scores:
    """What the model of a directory says of the answers in a file. Raises: DataError, ValueError, ImportError."""
    model, weights = load_gpt(directory)
    vocabulary = load_vocabulary(directory)
    corpus = scan(data, "scores", vocabulary, model.context, skip_bad)
    part = corpus.whole
    is_reward = (directory / HEAD).exists()
    if is_reward:
        read: Any = jax.jit(partial(_rewards, model, vocabulary.end))
        learned = {"model": weights, "head": load_head(directory, model)}
    else:
        read, learned = jax.jit(partial(_log_probs, model)), weights
    batches = batches_of(part, AT_ONCE, model.context)
    values = np.concatenate([np.asarray(read(learned, batch.tokens, batch.mask), np.float64) for batch in batches])
    preferred = 0.5 + 0.5 * np.sign(values[:, 0] - values[:, -1]) if corpus.form == "pair" else None
    return Scores(
        what="reward" if is_reward else "log_prob",
        values=values.tolist(),
        mean=summary(values[:, 0], part.topics, ANY_NUMBER if is_reward else NEGATIVE),
        preferred=None if preferred is None else share(preferred, part.topics),
        truncated=part.truncated(model.context),
        skipped=corpus.skipped,
        remarks=corpus.remarks(data),
    )


def _rewards(model: GPT, end: int, weights: Weights, tokens: Array, mask: Array) -> Array:
    """[B, K]"""
    flat = tokens.reshape(-1, tokens.shape[-1]), mask.reshape(-1, mask.shape[-1])
    return scores(model, weights, *flat, end).reshape(tokens.shape[:2])


def _log_probs(model: GPT, weights: Weights, tokens: Array, mask: Array) -> Array:
    """[B, K]"""
    flat = tokens.reshape(-1, tokens.shape[-1])
    each = token_distribution(model.apply(weights, flat[:, :-1])).log_prob(flat[:, 1:]).reshape(mask.shape)
    return jnp.where(mask, each, 0.0).sum(-1)
