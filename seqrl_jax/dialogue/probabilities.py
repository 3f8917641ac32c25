"""Whether the probabilities that a log gives can be those of its speakers, who choose by what was said before."""

from __future__ import annotations

import numpy as np

from seqrl_jax.dialogue.logs import Log
from seqrl_jax.dialogue.views import Spelling

TOLERANCE = 1e-4
"""Relative, by which what is equal may differ, as single precision rounds."""
ROUNDED = 0.01
"""By which a sum may differ from 1, where people write two or three decimals."""


def contradicted(log: Log, speakers: np.ndarray, words: np.ndarray, spelling: Spelling) -> tuple[int, str] | None:
    """The first dialogue of a log whose probabilities contradict those before it: the same utterance, or word of one,
    is said behind the same words with another probability, or all that is said there comes to more than 1, or to less
    where nothing else can be said. None where there is none; a probability of 0 is unknown.

    Args: speakers: [N], equal for dialogues of the same ones. words: [N, H, L], of each symbol of what was said, its
        end among them. spelling: word by word.
    """
    number_u, number_o = spelling.said.shape[0], int(log.reply.max()) + 1
    faults = dict[int, str]()
    # [N], of who speaks and what was said so far: equal for dialogues that nothing distinguishes.
    past = np.unique(speakers * number_o + log.reply[:, 0], return_inverse=True)[1]
    for t in range(log.utterance.shape[1]):
        spoken, said = np.flatnonzero(log.length > t), log.utterance[:, t]
        chance = np.take_along_axis(log.probability[:, t], said[:, None], 1)[spoken, 0]
        laws = [("", spoken, past[spoken], said[spoken], chance, np.full(len(spoken), number_u))]
        node = np.zeros(len(spoken), int)
        for place in range(words.shape[2]):
            symbol, legal = spelling.said[said[spoken], place], spelling.legal[node].sum(1)
            law = past[spoken] * spelling.num_nodes + node
            laws.append((f"word {place} of ", spoken, law, symbol, words[spoken, t, place], legal))
            node = np.maximum(spelling.child[node, symbol], 0)
        for what, rows, law, chosen, chance, options in laws:
            given = chance > 0
            if found := _contradiction(law[given], chosen[given], chance[given], options[given]):
                place, why = found
                faults.setdefault(int(rows[given][place]), f"turn {t}: {what}what is said {why}")
        after = (past * number_u + said) * number_o + log.reply[:, t + 1]
        past = np.unique(after, return_inverse=True)[1]
    first = min(faults, default=None)
    return None if first is None else (first, faults[first])


def _contradiction(
    past: np.ndarray, said: np.ndarray, chance: np.ndarray, options: np.ndarray
) -> tuple[int, str] | None:
    """The first of n places that cannot be, and why.

    Args: all [n]; equal numbers are equal pasts and choices. options: how many choices there are behind that past.
    """
    if not len(past):
        return None
    past = np.unique(past, return_inverse=True)[1]
    _, first, which = np.unique(past * (said.max() + 1) + said, return_index=True, return_inverse=True)
    other = np.abs(chance - chance[first][which]) > TOLERANCE * chance[first][which]
    # Of every choice behind a past, at the place where it stands first: what has been said there so far comes to.
    order = np.sort(first)
    total, number = np.zeros(past.max() + 1), np.zeros(past.max() + 1, int)
    over, under = list[int](), list[int]()
    for place in order:
        total[past[place]] += chance[place]
        number[past[place]] += 1
        if total[past[place]] > 1 + ROUNDED:
            over.append(place)
        elif number[past[place]] == options[place] and total[past[place]] < 1 - ROUNDED:
            under.append(place)
    place = min([*np.flatnonzero(other)[:1], *over[:1], *under[:1]], default=None)
    if place is None:
        return None
    if other[place]:
        before = chance[first][which][place]
        return int(place), f"has probability {chance[place]:.6g}, and {before:.6g} behind the same words"
    if place in over:
        return int(place), "behind the same words comes to a probability of more than 1"
    return int(place), "behind the same words comes to a probability of less than 1, and nothing else can be said"
