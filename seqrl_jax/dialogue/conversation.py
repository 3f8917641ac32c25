"""An agent that chooses symbols talks to the user of a game."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from seqrl_jax.dialogue.game import Game, behaviour
from seqrl_jax.dialogue.views import Spelling
from seqrl_jax.tasks.filter import first_belief, next_belief
from seqrl_jax.tasks.simulator import TabularState, tabular_env, tabular_params


class Talker(NamedTuple):
    """An agent in one dialogue.

    initial_carry: before anything was said. choose: (key, carry, legal [V]) -> symbol and its log-probability.
    hear: (carry, symbol) -> carry, for every symbol that was said, its own included.
    """

    initial_carry: Any
    choose: Callable[[Array, Any, Array], tuple[Array, Array]]
    hear: Callable[[Any, Array], Any]


class Spoken(NamedTuple):
    """A dialogue [T] as it was spoken: as `logs.Spelled`, with the talker's own log-probabilities. logged: how the
    speakers of the logs would have said the utterance that ends here, in log-probability; 0 elsewhere."""

    symbol: Array
    own: Array
    node: Array
    reward: Array
    log_prob: Array
    logged: Array
    turn: Array
    valid: Array


def unspoken(dialogues: int, length: int) -> Spoken:
    """[B, T] of dialogues in which nothing is said."""
    number, real, flag = (jnp.zeros((dialogues, length), dtype) for dtype in (jnp.int32, jnp.float32, bool))
    return Spoken(number, flag, number, real, real, real, number, flag)


class Fork(NamedTuple):
    """From this turn on the chances of a dialogue follow from this key."""

    turn: Array
    key: Array


class _At(NamedTuple):
    """Where a dialogue stands: the user's state and what is known of it, the node in the agent's tree, the reply that
    is being said and the place in it, the turn, whether it goes on, the talker's carry."""

    state: TabularState
    belief: Array
    node: Array
    reply: Array
    place: Array
    turn: Array
    alive: Array
    carry: Any


def converse(
    begin_key: Array, run_key: Array, game: Game, spelling: Spelling, talker: Talker, fork: Fork | None = None
) -> Spoken:
    """One dialogue, for `vmap` over keys: the first says who the user is and how the dialogue opens."""
    env, params = tabular_env(game.task), tabular_params(game.task)
    child, legal = jnp.asarray(spelling.child), jnp.asarray(spelling.legal)
    said_at, heard = jnp.asarray(spelling.utterance), jnp.asarray(spelling.heard)
    heard_length = jnp.asarray(spelling.heard_length)
    opening, state = env.reset(begin_key, params)
    zero = jnp.int32(0)

    def step(at: _At, keys: tuple[Array, Array]) -> tuple[_At, Spoken]:
        key = keys[0] if fork is None else jnp.where(at.turn >= fork.turn, keys[1], keys[0])
        choose_key, user_key = jax.random.split(key)
        own = at.alive & (at.place >= heard_length[at.reply])
        chosen, log_prob = talker.choose(choose_key, at.carry, legal[at.node])
        symbol = jnp.where(own, chosen, heard[at.reply, jnp.minimum(at.place, heard.shape[1] - 1)])
        node = jnp.where(own, child[at.node, chosen], at.node)
        utterance = jnp.where(own, said_at[node], -1)
        spoken = utterance >= 0
        after = env.step(user_key, at.state, jnp.maximum(utterance, 0), params)
        reward = jnp.where(spoken, after.reward, 0.0)
        ended = spoken & (after.terminated | after.truncated)
        made = Spoken(
            symbol=jnp.where(at.alive, symbol, 0).astype(jnp.int32),
            own=own,
            node=at.node,
            reward=reward,
            log_prob=jnp.where(own, log_prob, 0.0),
            logged=jnp.where(spoken, jnp.log(behaviour(game, at.belief, jnp)[jnp.maximum(utterance, 0)]), 0.0),
            turn=jnp.where(at.alive, at.turn, 0),
            valid=at.alive,
        )
        onward = _At(
            state=jax.tree.map(lambda new, old: jnp.where(spoken, new, old), after.state, at.state),
            belief=jnp.where(spoken, next_belief(params, at.belief, jnp.maximum(utterance, 0), after.obs), at.belief),
            node=jnp.where(spoken, zero, node),
            reply=jnp.where(spoken, after.obs, at.reply),
            place=jnp.where(spoken, zero, jnp.where(own, at.place, at.place + 1)),
            turn=at.turn + spoken.astype(jnp.int32),
            alive=at.alive & ~ended,
            carry=talker.hear(at.carry, made.symbol),
        )
        return onward, made

    known = first_belief(params, opening)
    start = _At(state, known, zero, opening, zero, zero, jnp.bool_(True), talker.initial_carry)
    keys, others = (jax.random.split(key, spelling.longest) for key in (run_key, run_key if fork is None else fork.key))
    return jax.lax.scan(step, start, (keys, others))[1]
