"""Examples as arrays. All answers of an example stand behind the same prompt, cut alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import jax
import numpy as np

from seqrl_jax.text.corpus import Corpus, Part, in_parts

SHORTEST = 32
"""Texts and prompts are padded to a power of two, at least this, so that few shapes are compiled."""


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class TokenBatch:
    """B examples with K answers each.

    tokens: [B, K, T + 1], the end token, the prompt, the answer, its end, and ends as padding. mask: [B, K, T], which
    of tokens[..., 1:] the model says, the answer's end among them. good: [B], labels.
    """

    tokens: np.ndarray
    mask: np.ndarray
    good: np.ndarray


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class PromptBatch:
    """B prompts that are to be answered; all end at the same place, so that their answers begin at the same one.

    tokens: [B, P], ends as padding, the end token, the prompt. begins: [B], where the padding is over. length:
    tokens of an answer at most, its end among them, static under `jit`.
    """

    tokens: np.ndarray
    begins: np.ndarray
    length: int = field(metadata={"static": True})


Indices = Sequence[int] | np.ndarray
"""Of examples in a corpus, [B]."""
Row = tuple[np.ndarray, np.ndarray]
"""The tokens of a text and which of them the model says."""


def token_batch(corpus: Corpus, indices: Indices, context: int, others: Indices | None = None) -> TokenBatch:
    """Examples, T at most `context`. A long text loses the left of its prompt, by the same cut in front of all answers;
    then an answer loses its right.

    others: with K more answers each, those to the prompt of another example, behind one's own and cut apart from one's
    own answers.
    """
    rows = list[Row]()
    for place, index in enumerate(indices):
        for of in (index,) if others is None else (index, others[place]):
            rows += _cut_alike(corpus, index, [corpus.answer(of, answer) for answer in range(corpus.answers)], context)
    return _padded(rows, corpus, indices, context)


def text_row(corpus: Corpus, index: int, context: int) -> Row:
    """An example's first answer behind its prompt, cut as `token_batch` cuts it: at most `context` + 1 tokens."""
    (row,) = _cut_alike(corpus, index, [corpus.answer(index, 0)], context)
    return row


def prompt_batch(corpus: Corpus, indices: Indices, context: int, length: int) -> PromptBatch:
    """Prompts with room behind each for an answer of so many tokens, its end among them. Long ones lose their left."""
    room = context - length
    prompts = [_begun(corpus, index, room) for index in indices]
    size = min(room, _power_of_two(max(map(len, prompts))))
    tokens = np.full((len(prompts), size), corpus.vocabulary.end, np.int32)
    begins = np.array([size - len(prompt) for prompt in prompts], np.int32)
    for row, prompt, begin in zip(tokens, prompts, begins, strict=True):
        row[begin:] = prompt
    return PromptBatch(tokens, begins, length)


def prompt_batches_of(part: Part, size: int, context: int, length: int) -> list[PromptBatch]:
    """All prompts of a part, each once, to be answered in so many tokens."""
    return [prompt_batch(part.corpus, indices, context, length) for indices in in_parts(part, size)]


def batches_of(part: Part, size: int, context: int, crossed: bool = False) -> list[TokenBatch]:
    """All examples of a part, each once. crossed: each also with the answers to the prompt of the next one."""
    if crossed:
        both = zip(in_parts(part, size), in_parts(part.rotated, size), strict=True)
        return [token_batch(part.corpus, indices, context, others) for indices, others in both]
    return [token_batch(part.corpus, indices, context) for indices in in_parts(part, size)]


def _cut_alike(corpus: Corpus, index: int, answers: Sequence[Row], context: int) -> list[Row]:
    """Answers behind an example's prompt, at most `context` + 1 tokens each."""
    longest = max(len(tokens) for tokens, _ in answers)
    prompt = _begun(corpus, index, context + 1 - longest)
    room = context + 1 - len(prompt)
    return [_row(prompt, tokens[:room], own[:room]) for tokens, own in answers]


def _begun(corpus: Corpus, index: int, room: int) -> np.ndarray:
    """The right of a prompt with the end token that begins its text, at least one token of them."""
    prompt = corpus.prompt(index)
    visible = max(0, min(len(prompt), room))
    end = [corpus.vocabulary.end] if corpus.begins[index] and (len(prompt) < room or not visible) else []
    return np.concatenate([np.array(end, np.int32), prompt[len(prompt) - visible :]])


def _row(prompt: np.ndarray, said: np.ndarray, own: np.ndarray) -> Row:
    return np.concatenate([prompt, said]), np.concatenate([np.zeros(len(prompt), bool), own])


def _power_of_two(length: int) -> int:
    """The next one that is at least `length`, and at least `SHORTEST`."""
    return max(SHORTEST, 1 << (length - 1).bit_length())


def _padded(rows: Sequence[Row], corpus: Corpus, indices: Indices, context: int) -> TokenBatch:
    """Texts side by side: T a power of two, at most `context`."""
    length = min(context, _power_of_two(max(len(tokens) for tokens, _ in rows) - 1))
    tokens = np.full((len(rows), length + 1), corpus.vocabulary.end, np.int32)
    mask = np.zeros((len(rows), length), bool)
    for row, (text, own) in enumerate(rows):
        tokens[row, : len(text)] = text
        mask[row, : len(own) - 1] = own[1:]
    side_by_side = (len(indices), -1)
    good = corpus.good[np.asarray(indices)]
    return TokenBatch(tokens.reshape(*side_by_side, length + 1), mask.reshape(*side_by_side, length), good)
