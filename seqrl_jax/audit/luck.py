"""How much of a return nobody earned, and where methods end that take it for merit.

Of tasks as they are learned from logs (see `dialogue.games.of_task`), and of games with their own speakers.
"""

from __future__ import annotations

from collections.abc import Sequence

from seqrl_jax.audit.audit import Audit, Progress, Row
from seqrl_jax.dialogue.exact import Known, TooLarge
from seqrl_jax.dialogue.game import Game
from seqrl_jax.dialogue.limits import limit_of
from seqrl_jax.dialogue.luck import luck_share
from seqrl_jax.dialogue.methods import make_method

BELIEFS = 3000
HISTORIES = 300
"""Of a turn, whose dialogues are compared in pairs."""
IMITATION = ("filtered_bc", "decision_transformer")
PREFERENCES = ("multi_turn_dpo", "dmpo")


def add_luck(result: Audit, games: Sequence[Game], progress: Progress) -> None:
    """Both kinds of rows of every game."""
    for number, game in enumerate(games):
        named = lambda rows, name=game.task.name: [{"task": name, **row} for row in rows]
        result.luck += named(luck_rows(game))
        result.whole_returns += named(whole_return_rows(game))
        progress(number + 1, len(games))


def luck_rows(game: Game) -> list[Row]:
    """{"share"}: luck's share of the variance of logged returns (see `dialogue.luck`). One row, or none where beliefs
    are too many."""
    try:
        return [{"share": luck_share(Known(game, BELIEFS))}]
    except TooLarge:
        return []


def whole_return_rows(game: Game) -> list[Row]:
    """{"method", "attains"}: where a method that learns from whole returns ends with unlimited data, between the logs
    (0) and the best policy (1). None of those whose limit is not known: beliefs or dialogues are too many, the task has
    a discount, or nothing can be gained."""
    rows = []
    for names, limit in ((IMITATION, BELIEFS), (PREFERENCES, HISTORIES)):
        known = Known(game, limit)
        for name in names:
            attained = _attained(name, known)
            rows += [] if attained is None else [{"method": name, "attains": attained}]
    return rows


def _attained(name: str, known: Known) -> float | None:
    try:
        earned = limit_of(make_method(name), known)
        logs, best = known.value(known.logged), known.value(known.best)
    except ValueError:  # TooLarge is one
        return None
    return None if earned is None or best <= logs else (earned - logs) / (best - logs)
