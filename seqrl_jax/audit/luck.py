"""How much of a return nobody earned, and where methods end that take it for merit.

Of tasks as they are learned from logs (see `dialogue.games.of_task`), and of games with their own speakers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from seqrl_jax.audit.audit import Audit, Progress, Row
from seqrl_jax.dialogue.exact import Known, TooLarge
from seqrl_jax.dialogue.game import Game
from seqrl_jax.dialogue.limits import limit_of
from seqrl_jax.dialogue.luck import luck_share
from seqrl_jax.dialogue.methods import make_method

BELIEFS = 3000
FEW = 300
"""Beliefs, and histories of a turn, where preferences between whole dialogues are followed to their end."""
LIMITS = {"filtered_bc": BELIEFS, "decision_transformer": BELIEFS, "multi_turn_dpo": FEW, "dmpo": FEW}
NOTHING, DIGITS = 1e-9, 9
"""What is gained, relative to the best return, that is rounding; and digits of what is attained that are none."""


def add_luck(result: Audit, games: Sequence[Game], progress: Progress) -> None:
    """Both kinds of rows of every game whose beliefs can be listed."""
    for number, game in enumerate(games):
        named = lambda rows, name=game.task.name: [{"task": name, **row} for row in rows]
        known = listed(game)
        if known is not None:
            result.luck += named([{"share": luck_share(known)}])
            result.whole_returns += named(whole_return_rows(known))
        progress(number + 1, len(games))


def listed(game: Game) -> Known | None:
    """A game with its beliefs, unless they are too many."""
    known = Known(game, BELIEFS)
    try:
        _ = known.beliefs
    except TooLarge:
        return None
    return known


def whole_return_rows(known: Known) -> list[Row]:
    """{"method", "attains"}: where a method that learns from whole returns ends with unlimited data, between the logs
    (0) and the best policy (1). None of those whose limit is not known: there is too much to list, the task has a
    discount, or nothing can be gained."""
    logs, best = known.value(known.logged), known.value(known.best)
    if best - logs <= NOTHING * max(1.0, abs(best)):
        return []
    attained = {name: _earned(name, replace(known, limit=limit)) for name, limit in LIMITS.items()}
    scaled = lambda earned: round((earned - logs) / (best - logs), DIGITS) + 0.0
    return [{"method": name, "attains": scaled(earned)} for name, earned in attained.items() if earned is not None]


def _earned(name: str, known: Known) -> float | None:
    try:
        return limit_of(make_method(name), known)
    except ValueError:  # TooLarge is one
        return None
