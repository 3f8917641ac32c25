"""Concentration: face-down cards are turned up in twos, and pairs stay up."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from msgspec import Meta

from seqrl_jax.tasks.cards import Deck, full
from seqrl_jax.tasks.environment import Box, Discrete, Transition, Whole
from seqrl_jax.tasks.ready import HISTORY, MEMORYLESS, Certificate, Ready, exactly

Pairs = Annotated[int, Meta(ge=2, le=52)]
Flips = Annotated[int, Meta(ge=2, le=500)]
NONE = -1


class TableState(NamedTuple):
    """deck: of the cards that were never turned up. kind: [N] int8 of those that were, else -1. matched: [N] bool.
    first, second: the cards that are up without being matched, -1 for none. time: steps."""

    deck: Deck
    kind: Array
    matched: Array
    first: Array
    second: Array
    time: Array


@dataclass(frozen=True)
class Concentration(Whole):
    """Observed are all N cards as one-hot kinds [N, K], zeros where they are face down.

    A card gets its kind when it is turned up for the first time, with the chances of a shuffled deck.
    """

    pairs: int
    longest: int

    @property
    def cards(self) -> int:
        """N, two of each kind."""
        return 2 * self.pairs

    @property
    def action_space(self) -> Discrete:
        return Discrete(self.cards)

    @property
    def observation_space(self) -> Box:
        return Box((self.cards, self.pairs), active=self.cards)

    def reset(self, key: Array, params: Any) -> tuple[Array, TableState]:
        state = TableState(
            full(self.pairs, 2),
            jnp.full(self.cards, NONE, jnp.int8),
            jnp.zeros(self.cards, bool),
            jnp.int32(NONE),
            jnp.int32(NONE),
            jnp.int32(0),
        )
        return self._shown(state), state

    def step(self, key: Array, state: TableState, action: Array, params: Any) -> Transition:
        # Two cards that did not match are turned down before another one is turned up.
        first = jnp.where(state.second == NONE, state.first, NONE)
        turns = ~state.matched[action] & (action != first)
        fresh = turns & (state.kind[action] == NONE)
        dealt, card = state.deck.dealt(jax.random.uniform(key))
        deck = Deck(jnp.where(fresh, dealt.left, state.deck.left))
        kind = state.kind.at[action].set(jnp.where(fresh, card.astype(jnp.int8), state.kind[action]))

        completes = turns & (first != NONE)
        pair = completes & (kind[action] == kind[first])
        matched = state.matched.at[action].set(state.matched[action] | pair)
        matched = matched.at[first].set(matched[first] | pair)
        after = TableState(
            deck,
            kind,
            matched,
            first=jnp.where(pair, NONE, jnp.where(turns & ~completes, action, first)),
            second=jnp.where(completes & ~pair, action, NONE),
            time=state.time + 1,
        )
        reward = jnp.where(pair, 1.0 / self.pairs, 0.0)
        ended = matched.all() | (after.time == self.longest)
        return Transition(self._shown(after), after, reward, ended, jnp.bool_(False), {})

    def _shown(self, state: TableState) -> Array:
        places = jnp.arange(self.cards)
        up = state.matched | (places == state.first) | (places == state.second)
        return (up[:, None] & (state.kind[:, None] == jnp.arange(self.pairs, dtype=jnp.int8))).astype(jnp.float32)


def concentration(pairs: Pairs = 8, flips: Flips = 24) -> Ready:
    """Two cards of each of `pairs` kinds lie face down. A step turns one up. If it is the second one, it stays up for
    good where it makes a pair with the first, which pays 1 / `pairs`; else both are turned down by the next step. To
    turn a card that is up costs a step. The episode ends with the last pair, or after `flips` steps.

    Picture::

        [ ][7][ ][ ][7][3][ ][ ]        7 and 7 are a pair; 3 waits for its partner

    Seed idea: many things at once, each of them kept until its like turns up, and forgotten then.
    Source: after Morad et al. (2023), POPGym, app. A, whose decks have more cards of a kind, and where a mistake costs.
    Optimum: by induction over how many kinds have been seen never, once and twice. Memoryless: at least what turning up
    any cards that are not matched earns.
    """
    history = exactly(recalled_value(pairs, flips), "induction over the kinds seen never, once and twice")
    how = "lower: any cards that are not matched; upper: the history value"
    memoryless = Certificate(_blind_value(pairs, flips), history.upper, how)
    return Ready(Concentration(pairs, flips), (), {MEMORYLESS: memoryless, HISTORY: history})


@cache
def recalled_value(pairs: int, flips: int) -> float:
    """The most that who recalls all cards can expect.

    Cards of which the same is known are alike, so the counts (a, s, p) are all that matters: kinds of which none, one
    or both cards have been seen, those in pairs left out that are matched. With no card up the value is `free`; with
    one up, `single` if its partner was never seen, `paired` if it was. All are [a, s, p], by flips that are left. A
    second card that is known not to match is never better than one that was never seen, or than a pair that is known.
    """
    size = pairs + 2
    a, s, p = np.indices((size, size, size))
    unseen = np.maximum(2 * a + s, 1)
    is_new, is_partner = 2 * a / unseen, s / unseen
    free, single, paired = (np.zeros((size, size, size)) for _ in range(3))

    def when(possible: np.ndarray, value: np.ndarray) -> np.ndarray:
        return np.where(possible, value, -np.inf)

    def fresh(new: np.ndarray, partner: np.ndarray) -> np.ndarray:
        """A card is turned up that was never seen: of a new kind, or the partner of one that was seen once."""
        return when(2 * a + s > 0, is_new * _moved(new, -1, 1, 0) + is_partner * _moved(partner, 0, -1, 1))

    for _ in range(flips):
        # The card that is up may find its own partner among those that were never seen.
        found = (1 + _moved(free, 0, -1, 0) - _moved(free, 0, -1, 1)) / unseen
        free, single, paired = (
            np.maximum.reduce([free, fresh(single, paired), when(s > 0, single), when(p > 0, paired)]),
            np.maximum(single, fresh(free, free) + found),
            np.maximum.reduce([paired, fresh(free, free), 1 + _moved(free, 0, 0, -1)]),
        )
    return float(free[pairs, 0, 0] / pairs)


def _moved(value: np.ndarray, a: int, s: int, p: int) -> np.ndarray:
    """`value` at counts that have changed by so many. What wraps around an edge is multiplied by zero, or never met."""
    return np.roll(value, (-a, -s, -p), (0, 1, 2))


def _blind_value(pairs: int, flips: int) -> float:
    """Two cards turned up at random of 2 j that are not matched are a pair with probability 1 / (2 j - 1)."""
    left = np.eye(pairs + 1)[pairs]
    chance = np.array([0.0, *(1 / (2 * j - 1) for j in range(1, pairs + 1))])
    for _ in range(flips // 2):
        left = left * (1 - chance) + np.append((left * chance)[1:], 0.0)
    return float(1 - left @ np.arange(pairs + 1) / pairs)
