"""Whole utterances, searched symbol by symbol with a beam.

The beam keeps the beginnings that the imitated logs are most likely to say, finished utterances among them; of those
that are finished at the end the one with the highest Q of its last symbol is said. What the logs would say is proposed,
and values choose (Verma et al., 2022), here without chance. Snell et al. (2023) add log pi + beta (Q - V) along a beam:
within an utterance nothing is paid and nobody else speaks, so that Q of one symbol is V before the next and the sum of
Q - V is Q of the last symbol less V of the first, a constant. Q of the last symbol says the same, without the errors of
the others.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from seqrl_jax.dialogue.conversation import Talker
from seqrl_jax.dialogue.method import Heard, Listener
from seqrl_jax.dialogue.reader import Outputs
from seqrl_jax.dialogue.views import Spelling

DEAD = -1e9
"""A log-probability that no beginning has."""


class Beginnings(NamedTuple):
    """W beginnings of utterances. symbols: [W, L]. node: [W]. score: [W], log-probability, at most `DEAD` in places
    that hold none. value: [W], Q of the last symbol."""

    symbols: Array
    node: Array
    score: Array
    value: Array


def best_utterance(
    at: Heard, listener: Listener, spelling: Spelling, width: int, log_probs: Callable[[Outputs, Array], Array]
) -> Array:
    """[L]: the symbols of the utterance that a beam of some width finds, in one dialogue; more of them may follow.

    Args: log_probs: of the next symbol, from outputs [W, n] and what may be said [W, V].
    """
    child, legal = jnp.asarray(spelling.child), jnp.asarray(spelling.legal)
    finished = jnp.asarray(spelling.utterance) >= 0
    length, num_symbols = spelling.said.shape[1], spelling.num_symbols

    def longer(beam: Beginnings, outputs: Outputs, place: Array) -> tuple[Beginnings, Array, Array]:
        """The beginnings one symbol longer, from which each came and by which symbol."""
        done = finished[beam.node]
        said = jnp.where(legal[beam.node], beam.score[:, None] + log_probs(outputs, legal[beam.node]), DEAD)
        # A finished utterance stays as it is, in a column of its own.
        stays = jnp.where(done, beam.score, DEAD)
        score, chosen = jax.lax.top_k(jnp.concatenate([said, stays[:, None]], 1).reshape(-1), width)
        parent, symbol = chosen // (num_symbols + 1), chosen % (num_symbols + 1)
        goes_on = symbol < num_symbols
        symbol = jnp.where(goes_on, symbol, 0)
        onward = Beginnings(
            symbols=beam.symbols[parent].at[:, place].set(symbol),
            node=jnp.where(goes_on, child[beam.node[parent], symbol], beam.node[parent]),
            score=score,
            value=jnp.where(goes_on, outputs["q"][parent, symbol], beam.value[parent]),
        )
        return onward, parent, symbol

    def step(state: tuple[Beginnings, Heard, Array], place: Array) -> tuple[tuple[Beginnings, Heard, Array], None]:
        beam, at, symbol = state
        at = Heard(*listener(at.carry, symbol, at.first), at.first)
        beam, parent, symbol = longer(beam, at.outputs, place)
        return (beam, jax.tree.map(lambda leaf: leaf[parent], at), symbol), None

    wide = jax.tree.map(lambda leaf: jnp.repeat(leaf, width, 0), at)
    score = jnp.full(width, DEAD).at[0].set(0.0)
    nothing = Beginnings(jnp.zeros((width, length), jnp.int32), jnp.zeros(width, jnp.int32), score, jnp.zeros(width))
    beam, _, symbol = longer(nothing, wide.outputs, jnp.int32(0))
    (beam, _, _), _ = jax.lax.scan(step, (beam, wide, symbol), jnp.arange(1, length))
    return beam.symbols[jnp.argmax(jnp.where(beam.score > DEAD / 2, beam.value, -jnp.inf))]


class Planned(NamedTuple):
    """Where a talker stands, and the symbols [L] that it says from here on when it is its turn."""

    at: Heard
    plan: Array


def planning(talker: Talker, plan: Callable[[Heard], Array], length: int) -> Talker:
    """One who hears as the talker does, and chooses whole utterances before their first symbol."""

    def choose(key: Array, planned: Planned, legal: Array) -> tuple[Array, Array]:
        return planned.plan[0], jnp.float32(0)

    def hear(planned: Planned, symbol: Array, own: Array) -> Planned:
        at = talker.hear(planned.at, symbol, own)
        return Planned(at, jnp.where(own, jnp.roll(planned.plan, -1), plan(at)))

    return Talker(Planned(talker.initial_carry, jnp.zeros(length, jnp.int32)), choose, hear)
