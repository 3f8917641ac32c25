"""What a method's dialogues earn, cost and take."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from seqrl_jax.dialogue.conversation import converse
from seqrl_jax.dialogue.game import Game
from seqrl_jax.dialogue.method import Method
from seqrl_jax.dialogue.views import Spelling
from seqrl_jax.networks.module import Weights


class Talk(NamedTuple):
    """Of E dialogues, [E] each: the return; sum of log pi - log pi_logs; turns; the return that the method's values
    promise as it begins to speak, in units of `Data.unit`, or None."""

    earned: Array
    divergence: Array
    turns: Array
    promised: Array | None


def talk(method: Method, game: Game, spelling: Spelling, weights: Weights, key: Array, episodes: int) -> Talk:
    """So many dialogues with the game's user."""
    talker = method.talker(spelling, weights)
    begins, runs = (jax.random.split(half, episodes) for half in jax.random.split(key))
    spoken = jax.vmap(lambda begin, run: converse(begin, run, game, spelling, talker))(begins, runs)
    discount = game.task.discount ** spoken.turn.astype(jnp.float32)
    return Talk(
        earned=(discount * spoken.reward).sum(1),
        divergence=(spoken.log_prob - spoken.logged).sum(1),
        turns=spoken.turn.max(1).astype(jnp.float32) + 1,
        promised=method.promised(spelling, weights, spoken.symbol, spoken.own),
    )
