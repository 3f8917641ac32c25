"""What a line of a user's data says: a prompt, its answers, and what is known of them."""

from __future__ import annotations

from typing import Literal, NamedTuple

Answer = tuple[str, ...]
"""What stands behind a prompt, in parts: the model's own and, between two of them, what others say. The first and the
last are the model's; an ordinary answer is one part."""
Form = Literal["text", "answer", "pair", "label", "prompt"]
"""A text without a prompt; a prompt and its answer; with a chosen and a rejected one; with one that is labelled good or
bad; a prompt alone."""


class DataError(ValueError):
    """Data that is no example: the message names the place."""


class Example(NamedTuple):
    """One of a user's data.

    form: what it holds. prompt: "" of a text. answers: none, one, or the chosen and the rejected one. topic: what
    examples have in common that must not stand on both sides of a split: the prompt, or the first turn of a dialogue.
    good: the label of one answer. next_prompt: all of a dialogue that goes on behind its last answer; else "".
    """

    form: Form
    prompt: str
    answers: tuple[Answer, ...]
    topic: str
    good: bool = True
    next_prompt: str = ""
