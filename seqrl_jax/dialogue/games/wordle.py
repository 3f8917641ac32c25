"""Wordle with a small alphabet."""

from __future__ import annotations

import itertools
from typing import Annotated

import numpy as np
from msgspec import Meta

from seqrl_jax.dialogue.game import Game, anything, checked, speaker
from seqrl_jax.settings import Horizon
from seqrl_jax.tasks.build import build, ends, goes, uniform

LETTERS, LENGTH = "abcd", 3
EVERY = tuple("".join(letters) for letters in itertools.product(LETTERS, repeat=LENGTH))
Words = Annotated[int, Meta(ge=2, le=64)]


def wordle(words: Words = 64, guesses: Horizon = 5) -> Game:
    """A word of 3 letters out of 4 is to be guessed; every wrong guess costs 1 and is marked letter by letter.

    A mark is `g` for a letter in its place, `y` for one that the word has elsewhere (and no earlier letter took), `b`
    for one that it has not. Fewer than 64 words are drawn once and for all. The logs guess any word, and one time in
    three a word that can still be right.

    Picture::

        go -- a b c -- b y g -- d a c -- (end)

    Seed idea: the best guess is not always a word that can be right.
    Optimum: -1.65625 with 64 words, -1.3125 with 32.
    """
    chosen = [EVERY[number] for number in sorted(np.random.default_rng(0).permutation(len(EVERY))[:words])]
    utterances = {"_".join(word): word for word in chosen}
    marked = {(said, word): "_".join(marks(word, guess)) for said, guess in utterances.items() for word in chosen}
    task = build(
        name="wordle",
        states=chosen,
        actions=list(utterances),
        observations=["go", *sorted(set(marked.values()))],
        start=uniform(chosen),
        step=lambda word, said: ends(0.0) if utterances[said] == word else goes(word, -1.0),
        observe=lambda _: "go",
        observe_after=lambda said, word: marked[said, word],
        discount=1.0,
        horizon=guesses,
    )
    fits = lambda word, said: float(utterances[said] == word)
    names = list(utterances)
    return checked(Game(task, (anything(0.66, chosen, names), speaker(0.34, chosen, names, fits, "possible"))))


def marks(word: str, guess: str) -> str:
    """What is said of a guess, a mark for each of its letters."""
    left = [letter for letter, guessed in zip(word, guess, strict=True) if letter != guessed]
    said = []
    for letter, guessed in zip(word, guess, strict=True):
        if letter == guessed:
            said.append("g")
        elif guessed in left:
            left.remove(guessed)
            said.append("y")
        else:
            said.append("b")
    return "".join(said)
