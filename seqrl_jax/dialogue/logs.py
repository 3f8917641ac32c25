"""Dialogues as they were logged: who said what, what it paid, and how likely it was.

A log is made in a view of nobody: whole utterances and replies by number. `spelled` writes it in symbols.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from seqrl_jax.dialogue.game import Game, behaviour
from seqrl_jax.dialogue.views import Spelling
from seqrl_jax.keys import key_of
from seqrl_jax.tasks.filter import first_belief, next_belief
from seqrl_jax.tasks.simulator import TabularState, tabular_env, tabular_params


class Log(NamedTuple):
    """N dialogues of at most H turns, numpy.

    utterance: [N, H] int. reply: [N, H + 1], the opening first. reward: [N, H]. probability: [N, H, A], how likely the
    speakers were to say each utterance. state: [N, H + 1], the user's hidden state (no method looks, but those that say
    so). length: [N], turns. terminated: [N] bool; the others were cut at the horizon. Behind the last turn everything
    is 0.
    """

    utterance: np.ndarray
    reply: np.ndarray
    reward: np.ndarray
    probability: np.ndarray
    state: np.ndarray
    length: np.ndarray
    terminated: np.ndarray

    def returns(self, discount: float) -> np.ndarray:
        """[N]: what a dialogue earned, later turns discounted."""
        earned: np.ndarray = self.reward @ discount ** np.arange(self.reward.shape[1])
        return earned


def logged(game: Game, episodes: int, seed: int) -> Log:
    """So many dialogues of the game's speakers. Dialogue i is the same whatever the others are."""
    return logger(game)(episodes, seed)


def logger(game: Game) -> Callable[[int, int], Log]:
    """`logged` for one game, of (episodes, seed), compiled once for all its logs of a size."""
    speak = jax.jit(jax.vmap(_dialogue_of(game)))

    def log(episodes: int, seed: int) -> Log:
        keys = jax.vmap(lambda number: jax.random.fold_in(key_of(seed), number))(jnp.arange(episodes))
        return Log(*map(np.asarray, speak(keys)))

    return log


def _dialogue_of(game: Game) -> Callable[[Array], Log]:
    env, params = tabular_env(game.task), tabular_params(game.task)

    def turn(carry: tuple[TabularState, Array, Array], key: Array) -> tuple[Any, Any]:
        state, belief, alive = carry
        say_key, user_key = jax.random.split(key)
        probability = behaviour(game, belief, jnp)
        said = jax.random.categorical(say_key, jnp.log(probability)).astype(jnp.int32)
        after = env.step(user_key, state, said, params)
        on = alive & ~after.terminated & ~after.truncated
        made = (
            jnp.where(alive, said, 0),
            jnp.where(on, after.obs, 0),
            jnp.where(alive, after.reward, 0.0),
            jnp.where(alive, probability, 0.0),
            jnp.where(on, after.state.number, 0),
            alive,
            alive & after.terminated,
        )
        return (after.state, next_belief(params, belief, said, after.obs), on), made

    def dialogue(key: Array) -> Any:
        first_key, run_key = jax.random.split(key)
        opening, state = env.reset(first_key, params)
        start = (state, first_belief(params, opening), jnp.bool_(True))
        _, made = jax.lax.scan(turn, start, jax.random.split(run_key, game.task.horizon))
        said, replies, reward, probability, states, alive, ended = made
        reply, numbers = jnp.concatenate([opening[None], replies]), jnp.concatenate([state.number[None], states])
        made_of: tuple[Any, ...] = (said, reply, reward, probability, numbers, alive.sum(), ended.any())
        return Log(*made_of)

    return dialogue


class Spelled(NamedTuple):
    """Dialogues [N, T] symbol by symbol, numpy.

    symbol: int32. own: bool, whether the agent said it. node: int32, where the agent stood in the tree when it did.
    reward: of a turn, on its last own symbol. turn: int32. valid: bool.
    """

    symbol: np.ndarray
    own: np.ndarray
    node: np.ndarray
    reward: np.ndarray
    turn: np.ndarray
    valid: np.ndarray


def spelled(log: Log, spelling: Spelling) -> Spelled:
    """A log in symbols. The last reply of a dialogue that was cut is not said: nobody answers it."""
    count, horizon = log.utterance.shape
    length = spelling.longest
    out = Spelled(
        symbol=np.zeros((count, length), np.int32),
        own=np.zeros((count, length), bool),
        node=np.zeros((count, length), np.int32),
        reward=np.zeros((count, length), np.float32),
        turn=np.zeros((count, length), np.int32),
        valid=np.zeros((count, length), bool),
    )
    at = np.zeros(count, int)

    def write(rows: np.ndarray, symbols: np.ndarray, lengths: np.ndarray, turn: int) -> None:
        for place in range(symbols.shape[1]):
            on = lengths > place
            where = rows[on], at[rows[on]] + place
            out.symbol[where] = symbols[on, place]
            out.turn[where] = turn
            out.valid[where] = True

    everyone = np.arange(count)
    write(everyone, spelling.heard[log.reply[:, 0]], spelling.heard_length[log.reply[:, 0]], 0)
    at += spelling.heard_length[log.reply[:, 0]]
    for t in range(horizon):
        rows = np.flatnonzero(log.length > t)
        said = log.utterance[rows, t]
        symbols, lengths = spelling.said[said], spelling.said_length[said]
        write(rows, symbols, lengths, t)
        node = np.zeros(len(rows), int)
        for place in range(symbols.shape[1]):
            on = np.flatnonzero(lengths > place)
            where, symbol = (rows[on], at[rows[on]] + place), symbols[on, place]
            out.own[where] = True
            out.node[where] = node[on]
            node[on] = spelling.child[node[on], symbol]
        at[rows] += lengths
        out.reward[rows, at[rows] - 1] = log.reward[rows, t]
        rows = np.flatnonzero(log.length > t + 1)
        heard = log.reply[rows, t + 1]
        write(rows, spelling.heard[heard], spelling.heard_length[heard], t + 1)
        at[rows] += spelling.heard_length[heard]
    return out


def symbol_log_probs(log: Log, said: Spelled, spelling: Spelling) -> np.ndarray:
    """[N, T]: how likely the speakers were to say each of their symbols, 0 where the user speaks.

    Args: said: the log in symbols, `spelled(log, spelling)`.
    """
    out: np.ndarray = np.zeros(said.own.shape)
    for place in range(out.shape[1]):
        row = np.flatnonzero(said.own[:, place])
        node, law = said.node[row, place], log.probability[row, said.turn[row, place]].astype(np.float64)
        # Of all that may still be said, the share that goes this way.
        here = (law * spelling.within[node]).sum(1)
        after = (law * spelling.within[spelling.child[node, said.symbol[row, place]]]).sum(1)
        out[row, place] = np.log(np.maximum(after, 1e-30) / np.maximum(here, 1e-30))
    return out
