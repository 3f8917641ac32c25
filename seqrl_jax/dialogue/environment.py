"""A game as an environment, symbol by symbol: whoever acts in environments can talk.

While the user speaks the agent's action does not matter (`listen` is its name) and it observes the symbols that are
said; while it speaks it observes `none`. The opening is the first that it hears.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from seqrl_jax.dialogue.game import Game
from seqrl_jax.dialogue.views import NONE, SPECIAL, Spelling
from seqrl_jax.tasks.environment import Discrete, Transition, Whole, Wrapper
from seqrl_jax.tasks.simulator import TabularEnv, TabularParams, TabularState, tabular_env, tabular_params


@partial(
    jax.tree_util.register_dataclass,
    data_fields=["user", "after", "legal", "utterance", "heard", "heard_length"],
    meta_fields=[],
)
@dataclass(frozen=True)
class SymbolParams:
    """user: the game's own numbers. Of the spelling (see `Spelling`): legal: [P, V]. utterance: [P]. heard: [O, M].
    heard_length: [O]. after: [P, V], the node after a symbol, whatever it is."""

    user: TabularParams
    after: Array
    legal: Array
    utterance: Array
    heard: Array
    heard_length: Array


class SymbolState(NamedTuple):
    """user: the hidden state and the turn. node: where the agent stands in the tree of its utterances. reply, place:
    what the user says, and how much of it has been said."""

    user: TabularState
    node: Array
    reply: Array
    place: Array


@dataclass(frozen=True)
class SymbolEnv(Whole):
    """A dialogue as V actions and V observations.

    A symbol with which no utterance goes on counts as the first one with which some utterance does. So an agent that
    knows nothing of utterances still says one, and none can wait where speaking does not pay: what can be earned is
    what can be earned by whole utterances.
    """

    user: TabularEnv
    num_symbols: int
    longest: int

    @property
    def action_space(self) -> Discrete:
        return Discrete(self.num_symbols)

    @property
    def observation_space(self) -> Discrete:
        return Discrete(self.num_symbols)

    def reset(self, key: Array, params: SymbolParams) -> tuple[Array, SymbolState]:
        """Nothing has been said: the observation is `none`."""
        opening, user = self.user.reset(key, params.user)
        zero = jnp.int32(0)
        return jnp.int32(SPECIAL.index(NONE)), SymbolState(user, zero, opening, zero)

    def step(self, key: Array, state: SymbolState, action: Array, params: SymbolParams) -> Transition:
        """One symbol. info: `utterance`, the number of the utterance that it ends, -1 where it ends none, and `reply`,
        of the user to it."""
        own = self.speaks(state, params)
        node = jnp.where(own, params.after[state.node, action], state.node)
        utterance = jnp.where(own, params.utterance[node], -1)
        spoken = utterance >= 0
        after = self.user.step(key, state.user, jnp.maximum(utterance, 0), params.user)
        return Transition(
            obs=jnp.where(own, SPECIAL.index(NONE), self.heard(state, params)),
            state=SymbolState(
                user=jax.tree.map(lambda new, old: jnp.where(spoken, new, old), after.state, state.user),
                node=jnp.where(spoken, 0, node),
                reply=jnp.where(spoken, after.obs, state.reply),
                place=jnp.where(spoken, 0, jnp.where(own, state.place, state.place + 1)),
            ),
            reward=jnp.where(spoken, after.reward, 0.0),
            terminated=spoken & after.terminated,
            truncated=spoken & after.truncated,
            info={"utterance": utterance, "reply": after.obs},
        )

    def speaks(self, state: SymbolState, params: SymbolParams) -> Array:
        """Whether the next symbol is the agent's."""
        return state.place >= params.heard_length[state.reply]

    def heard(self, state: SymbolState, params: SymbolParams) -> Array:
        """The user's next symbol, if it speaks."""
        return params.heard[state.reply, jnp.minimum(state.place, params.heard.shape[1] - 1)]

    def discount(self, params: SymbolParams) -> Array:
        """The game's, here from symbol to symbol: below 1 the objective depends on how its words are cut."""
        return params.user.discount


@dataclass(frozen=True)
class PerTurn(Wrapper):
    """The game's own objective, whatever the view: what a turn pays is discounted by the turns before it, and symbols
    are not."""

    env: SymbolEnv

    def step(self, key: Array, state: SymbolState, action: Array, params: SymbolParams) -> Transition:
        after = self.env.step(key, state, action, params)
        return after._replace(reward=after.reward * params.user.discount ** state.user.time.astype(jnp.float32))

    def discount(self, params: SymbolParams) -> Array:
        return jnp.ones_like(params.user.discount)


def per_symbol_env(game: Game, spelling: Spelling) -> SymbolEnv:
    """The environment of games that are spelled in these shapes. A discount below 1 is from symbol to symbol."""
    return SymbolEnv(tabular_env(game.task), spelling.num_symbols, spelling.longest)


def symbol_env(game: Game, spelling: Spelling) -> PerTurn:
    """The same with the game's discount from turn to turn, whose optimum is that of whole utterances."""
    return PerTurn(per_symbol_env(game, spelling))


def symbol_params(game: Game, spelling: Spelling) -> SymbolParams:
    """One game's numbers."""
    first = np.take_along_axis(spelling.child, spelling.legal.argmax(1, keepdims=True), 1)
    return SymbolParams(
        user=tabular_params(game.task),
        after=jnp.asarray(np.where(spelling.legal, spelling.child, first)),
        legal=jnp.asarray(spelling.legal),
        utterance=jnp.asarray(spelling.utterance),
        heard=jnp.asarray(spelling.heard),
        heard_length=jnp.asarray(spelling.heard_length),
    )
