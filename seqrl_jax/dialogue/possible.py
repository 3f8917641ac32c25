"""Whether what a log says can happen in its game, by the states in which the user may be, turn by turn."""

from __future__ import annotations

import numpy as np
from scipy import sparse

from seqrl_jax.dialogue.game import Game
from seqrl_jax.dialogue.logs import Log

TOLERANCE = 1e-5
"""Between rewards that are the same, in units of the largest one: files may hold single precision."""


def impossible(game: Game, log: Log) -> tuple[int, str] | None:
    """The first dialogue of a log that the game cannot have, and what is wrong with it. None where there is none."""
    task, lists, faults = game.task, game.task.lists, dict[int, str]()
    near = TOLERANCE * max(np.abs(pays.data).max(initial=0.0) for pays in lists.reward)

    def refuse(rows: np.ndarray, why: str) -> None:
        for row in rows:
            faults.setdefault(int(row), why)

    # [N, S], where the user may be.
    may = (task.initial > 0) & _says(lists.initial_observation, log.reply[:, 0])
    refuse(np.flatnonzero(~may.any(1)), "no dialogue opens so")
    for t in range(task.horizon):
        for said in np.unique(log.utterance[log.length > t, t]):
            here = np.flatnonzero((log.length > t) & (log.utterance[:, t] == said))
            moved = _moved(may[here], lists.transition[said], lists.reward[said], log.reward[here, t], near)
            refuse(here[~moved.any(1)], f"turn {t} pays what it cannot pay there")
            last = log.length[here] == t + 1
            over = np.where(log.terminated[here, None], task.terminal, ~task.terminal)
            reply = log.reply[here, t + 1]
            may[here] = moved & np.where(last[:, None], over, ~task.terminal & _says(lists.observation[said], reply))
            lost = ~may[here].any(1)
            refuse(here[lost & ~last], f"reply {t} is none that the user gives there")
            refuse(here[lost & log.terminated[here]], f"the game is not over after turn {t}")
            refuse(here[lost], f"the game is over after turn {t}, and is not cut")
    first = min(faults, default=None)
    return None if first is None else (first, faults[first])


def _moved(
    may: np.ndarray, law: sparse.csr_array, pays: sparse.csr_array, reward: np.ndarray, near: float
) -> np.ndarray:
    """[n, S]: where the user may be after a turn that paid `reward` [n], from where it may have been [n, S].

    Args: law, pays: of one utterance, with the same entries. near: how far apart two rewards may lie.
    """
    known = np.unique(pays.data)
    nearest = known[np.abs(reward[:, None] - known).argmin(1)]
    moved = np.zeros(may.shape, bool)
    for each in np.unique(nearest):
        rows = (nearest == each) & (np.abs(reward - each) <= near)
        moved[rows] = may[rows] @ sparse.csr_array((pays.data == each, law.indices, law.indptr), law.shape)
    return moved


def _says(observation: sparse.csr_array, reply: np.ndarray) -> np.ndarray:
    """[n, S]: where a user may be who replies so [n]. Args: observation: [S, O]."""
    return observation.toarray().T[reply] > 0
