"""Every dialogue of one who says anything, as often as it is had, in games whose users leave nothing to chance."""

import jax
import jax.numpy as jnp
import numpy as np
from dialogue.test_offline import listed

from seqrl_jax.dialogue.conversation import Spoken
from seqrl_jax.dialogue.game import Game
from seqrl_jax.dialogue.logs import Log, spelled
from seqrl_jax.dialogue.views import Spelling, symbol_probabilities


def spoken_by_anyone(game: Game, spelling: Spelling) -> tuple[Spoken, Log]:
    """The dialogues [B, T] with the log-probabilities of their symbols, and as a log."""
    log, utterances = listed(game), game.task.num_actions
    said = spelled(log, spelling)
    uniform = symbol_probabilities(spelling, np.full(utterances, 1 / utterances))
    log_prob = np.where(said.own, np.log(np.maximum(uniform[said.node, said.symbol], 1e-9)), 0.0)
    zeros = np.zeros(said.own.shape)
    made = Spoken(said.symbol, said.own, said.node, said.reward, log_prob, zeros, said.turn, said.valid)
    return jax.tree.map(jnp.asarray, made), log


def histories(symbols: np.ndarray) -> np.ndarray:
    """[T - 1, B]: the numbers of what was said before symbols 1 ... T - 1 of dialogues [T, B], equal where it is."""
    number: dict[bytes, int] = {}
    beginnings = [[one[:t].tobytes() for one in np.asarray(symbols).T] for t in range(1, len(symbols))]
    return np.array([[number.setdefault(key, len(number)) for key in row] for row in beginnings])
