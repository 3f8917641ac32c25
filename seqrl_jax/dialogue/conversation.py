"""An agent that chooses symbols talks to the user of a game."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from seqrl_jax.dialogue.environment import SymbolState, per_symbol_env, symbol_params
from seqrl_jax.dialogue.game import Game, behaviour
from seqrl_jax.dialogue.views import Spelling
from seqrl_jax.tasks.filter import first_belief, next_belief


class Talker(NamedTuple):
    """An agent in one dialogue.

    initial_carry: before anything was said. choose: (key, carry, legal [V]) -> symbol and its log-probability.
    hear: (carry, symbol, own) -> carry, for every symbol that was said, and whether it was its own.
    """

    initial_carry: Any
    choose: Callable[[Array, Any, Array], tuple[Array, Array]]
    hear: Callable[[Any, Array, Array], Any]


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
    """Where a dialogue stands, what is known of the user, whether it goes on, the talker's carry."""

    state: SymbolState
    belief: Array
    alive: Array
    carry: Any


def converse(
    begin_key: Array, run_key: Array, game: Game, spelling: Spelling, talker: Talker, fork: Fork | None = None
) -> Spoken:
    """One dialogue, for `vmap` over keys: the first says who the user is and how the dialogue opens."""
    env, params = per_symbol_env(game, spelling), symbol_params(game, spelling)
    _, state = env.reset(begin_key, params)

    def step(at: _At, keys: tuple[Array, Array]) -> tuple[_At, Spoken]:
        turn = at.state.user.time
        key = keys[0] if fork is None else jnp.where(turn >= fork.turn, keys[1], keys[0])
        choose_key, user_key = jax.random.split(key)
        own = at.alive & env.speaks(at.state, params)
        chosen, log_prob = talker.choose(choose_key, at.carry, params.legal[at.state.node])
        after = env.step(user_key, at.state, chosen, params)
        utterance, reply = after.info["utterance"], after.info["reply"]
        spoken = utterance >= 0
        said = jnp.maximum(utterance, 0)
        made = Spoken(
            symbol=jnp.where(own, chosen, after.obs).astype(jnp.int32),
            own=own,
            node=at.state.node,
            reward=after.reward,
            log_prob=jnp.where(own, log_prob, 0.0),
            logged=jnp.where(spoken, jnp.log(behaviour(game, at.belief, jnp)[said]), 0.0),
            turn=turn,
            valid=at.alive,
        )
        # Behind its end a dialogue is empty.
        made = jax.tree.map(lambda leaf: jnp.where(at.alive, leaf, jnp.zeros_like(leaf)), made)
        belief = jnp.where(spoken, next_belief(params.user, at.belief, said, reply), at.belief)
        alive = at.alive & ~after.terminated & ~after.truncated
        return _At(after.state, belief, alive, talker.hear(at.carry, made.symbol, own)), made

    start = _At(state, first_belief(params.user, state.reply), jnp.bool_(True), talker.initial_carry)
    keys, others = (jax.random.split(key, spelling.longest) for key in (run_key, run_key if fork is None else fork.key))
    return jax.lax.scan(step, start, (keys, others))[1]
