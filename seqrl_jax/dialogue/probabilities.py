"""Whether the probabilities that a log gives can be those of its speakers, who choose by what was said before."""

from __future__ import annotations

import numpy as np

from seqrl_jax.dialogue.logs import Log

TOLERANCE = 1e-4
"""Relative, by which what is equal may differ, as single precision rounds."""
ROUNDED = 0.01
"""By which a sum may exceed 1, where people write two or three decimals."""


def contradicted(log: Log, speakers: np.ndarray) -> tuple[int, str] | None:
    """The first dialogue of a log that says behind the same words the same with another probability than one before
    it, or with which what is said there comes to more than 1. None where there is none; a probability of 0 is unknown.

    Args: speakers: [N], equal for dialogues of the same ones.
    """
    number_u, number_o = int(log.utterance.max()) + 1, int(log.reply.max()) + 1
    faults = dict[int, str]()
    # [N], of who speaks and what was said so far: equal for dialogues that nothing distinguishes.
    past = np.unique(speakers * number_o + log.reply[:, 0], return_inverse=True)[1]
    for t in range(log.utterance.shape[1]):
        here = np.flatnonzero((log.length > t) & (_said(log, t) > 0))
        found = _contradiction(past[here], log.utterance[here, t], _said(log, t)[here])
        if found is not None:
            place, why = found
            faults.setdefault(int(here[place]), f"turn {t}: {why}")
        after = (past * number_u + log.utterance[:, t]) * number_o + log.reply[:, t + 1]
        past = np.unique(after, return_inverse=True)[1]
    first = min(faults, default=None)
    return None if first is None else (first, faults[first])


def _said(log: Log, t: int) -> np.ndarray:
    """[N]: the probability of what was said."""
    chances: np.ndarray = np.take_along_axis(log.probability[:, t], log.utterance[:, t, None], 1)[:, 0]
    return chances


def _contradiction(past: np.ndarray, said: np.ndarray, chance: np.ndarray) -> tuple[int, str] | None:
    """The first of n places that cannot be, and why. Args: all [n]; equal numbers are equal pasts and utterances."""
    if not len(past):
        return None
    _, first, which = np.unique(past * (said.max() + 1) + said, return_index=True, return_inverse=True)
    other = np.abs(chance - chance[first][which]) > TOLERANCE * chance[first][which]
    # Of every utterance behind a past, at the place where it stands first: what has been said there so far comes to.
    order = np.sort(first)
    total = np.zeros(past.max() + 1)
    sums = []
    for place in order:
        total[past[place]] += chance[place]
        sums.append(total[past[place]])
    over = order[np.array(sums) > 1 + ROUNDED]
    place = min([*np.flatnonzero(other)[:1], *over[:1]], default=None)
    if place is None:
        return None
    if other[place]:
        before = chance[first][which][place]
        return int(place), f"is said with probability {chance[place]:.6g}, and with {before:.6g} behind the same words"
    return int(place), "what is said behind the same words comes to a probability of more than 1"
