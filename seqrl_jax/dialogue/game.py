"""What a dialogue is: a POMDP whose actions are utterances and whose observations are replies, and who spoke before.

An utterance is the name of an action, a reply that of an observation; its words are the parts between underscores. So a
game is defined once: whole utterances are one view of it, words another (see `views`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Literal

import numpy as np

from seqrl_jax.tasks.build import END
from seqrl_jax.tasks.tabular import TabularPOMDP

Rule = Literal["best", "possible", "likely"]


@dataclass(frozen=True, eq=False)
class Speaker:
    """Who chooses an utterance by what the dialogue so far says of the user's hidden state.

    share: how often this one of a game's speakers has the turn. merit: [S, A], what an utterance is worth in a state;
    its mean under the belief is the utterance's merit. rule: any of the `best`, with equal chances; any with a positive
    merit, with equal chances (`possible`); or in proportion to merits (`likely`).
    """

    share: float
    merit: np.ndarray
    rule: Rule = "best"


@dataclass(frozen=True, eq=False)
class Game:
    """A dialogue with a user, and the speakers whose dialogues were logged.

    task: actions are the agent's utterances, observations the user's replies, the first of which opens the dialogue.
    speakers: at every turn of a logged dialogue one of them speaks, drawn by its share.
    """

    task: TabularPOMDP
    speakers: tuple[Speaker, ...]


def words(name: str) -> tuple[str, ...]:
    """The words of an utterance or a reply."""
    return tuple(name.split("_"))


def speaker(
    share: float,
    states: Sequence[Any],
    utterances: Sequence[str],
    merit: Callable[[Any, str], float],
    rule: Rule = "best",
    ends: bool = True,
) -> Speaker:
    """A speaker from a function of state and utterance.

    Args: states: as they were given to `build`. ends: whether that put an end behind them.
    """
    table = np.array([[merit(state, utterance) for utterance in utterances] for state in states], float)
    return Speaker(share, np.concatenate([table, np.zeros((int(ends), len(utterances)))]), rule)


def anything(share: float, states: Sequence[Any], utterances: Sequence[str], ends: bool = True) -> Speaker:
    """One who says anything whatever."""
    return speaker(share, states, utterances, lambda *_: 0.0, ends=ends)


def checked(game: Game) -> Game:
    """The game itself. Raises: ValueError where shares do not add up to 1 or tables are not the task's."""
    if abs(sum(each.share for each in game.speakers) - 1) > 1e-9:
        raise ValueError(f"{game.task.name}: the shares of the speakers do not add up to 1")
    shape = (game.task.num_states, game.task.num_actions)
    for number, each in enumerate(game.speakers):
        if each.merit.shape != shape:
            raise ValueError(f"{game.task.name}: speaker {number} knows {each.merit.shape}, the task is {shape}")
    if END in game.task.actions:
        raise ValueError(f"{game.task.name}: no utterance can be called {END!r}")
    return game


def behaviour(game: Game, belief: Any, xp: ModuleType = np) -> Any:
    """[..., A]: how often each utterance is said in the logs where beliefs [..., S] hold.

    Args: xp: numpy, or `jax.numpy` for `jit`.
    """
    return sum(
        each.share * _choice(belief @ xp.asarray(each.merit, belief.dtype), each.rule, xp) for each in game.speakers
    )


TIE = 1e-4
"""Merits that differ by less are equal: beliefs are rounded, in logs to single precision."""


def _choice(merit: Any, rule: Rule, xp: ModuleType) -> Any:
    if rule == "best":
        weight = xp.where(merit > merit.max(-1, keepdims=True) - TIE, 1.0, 0.0)
    elif rule == "possible":
        weight = xp.where(merit > TIE, 1.0, 0.0)
    else:
        weight = xp.maximum(merit, 0.0)
    total = weight.sum(-1, keepdims=True)
    # One who sees no merit anywhere says anything.
    return xp.where(total > 0, weight / xp.where(total > 0, total, 1.0), 1 / merit.shape[-1])
