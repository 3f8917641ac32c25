"""POPGym's four card games: cards are dealt one by one, and what was dealt is asked for.

Cards come from the deck as they are needed: each kind with the chance of its share among those that are left. That is
the law of a shuffled deck, and no deck is shuffled. An observation that is two things in POPGym (a mode and a suit, a
card and a question) is one number here.

What memory is worth is proved. Who recalls everything earns 1 in every episode, the most that rewards add up to; what a
policy of the observation earns is computed, as its actions change nothing that is shown.

Source: Morad et al. (2023), POPGym, app. A.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from seqrl_jax.naming import require
from seqrl_jax.settings import Delay, Depth
from seqrl_jax.tasks.environment import Discrete, Environment, Transition, Whole
from seqrl_jax.tasks.ready import HISTORY, MEMORYLESS, Certificate, Ready, exactly

SUITS, DECK = 4, 52
Kinds = Literal["colours", "suits", "ranks"]


class Deck(NamedTuple):
    """left: [K], how many cards of each kind have not been dealt."""

    left: Array

    def dealt(self, chance: Array) -> tuple[Deck, Array]:
        """The deck without a card, and its kind. chance: uniform in [0, 1)."""
        upto = jnp.cumsum(self.left).astype(jnp.float32)
        card = jnp.sum(chance * upto[-1] >= upto, dtype=jnp.int32)
        return Deck(self.left - at(card, len(self.left)).astype(jnp.int32)), card


def at(place: Array, size: int) -> Array:
    """[size] bool: true at this place. Batched, a comparison with a few numbers costs less than a scatter."""
    return jnp.arange(size) == place


def full(kinds: int, copies: int) -> Deck:
    """A deck from which nothing has been dealt."""
    return Deck(jnp.full(kinds, copies, jnp.int32))


@dataclass(frozen=True)
class CardGame(Whole):
    """kinds: K, by which cards differ. copies: of each kind."""

    kinds: int
    copies: int

    @property
    def cards(self) -> int:
        """N, of the deck."""
        return self.kinds * self.copies

    @property
    def longest(self) -> int:
        return self.cards - 1

    @property
    def action_space(self) -> Discrete:
        return Discrete(self.kinds)

    @property
    def observation_space(self) -> Discrete:
        return Discrete(self.kinds)


class DealtGame(CardGame):
    """A game in which every step deals one card."""

    def reset(self, key: Array, params: Any) -> tuple[Array, Any]:
        deck, card = full(self.kinds, self.copies).dealt(jax.random.uniform(key))
        return self.begun(deck, card)

    def step(self, key: Array, state: Any, action: Array, params: Any) -> Transition:
        deck, card = state.deck.dealt(jax.random.uniform(key))
        return self.advanced(state, action, deck, card)

    @abstractmethod
    def begun(self, deck: Deck, card: Array) -> tuple[Array, Any]:
        """What is seen first, and the state, when this card is dealt first."""

    @abstractmethod
    def advanced(self, state: Any, action: Array, deck: Deck, card: Array) -> Transition:
        """A step in which this card is dealt."""


def paid(right: Array, counts: Array | bool, of: int) -> Array:
    """The reward of an answer that counts: 1 or -1 in all, over so many."""
    return jnp.where(counts, jnp.where(right, 1.0, -1.0) / of, 0.0)


def ended(obs: Array, state: Any, reward: Array, done: Array) -> Transition:
    """A step of a game that always comes to its end."""
    return Transition(obs, state, reward, done, jnp.bool_(False), {})


class FirstState(NamedTuple):
    """first: the suit that is asked for. time: steps."""

    deck: Deck
    first: Array
    time: Array


class RepeatFirst(DealtGame):
    """The suit of the first card, at every step."""

    def begun(self, deck: Deck, card: Array) -> tuple[Array, FirstState]:
        return card, FirstState(deck, card, jnp.int32(0))

    def advanced(self, state: FirstState, action: Array, deck: Deck, card: Array) -> Transition:
        after = FirstState(deck, state.first, state.time + 1)
        return ended(card, after, paid(action == state.first, True, self.longest), after.time == self.longest)


class PreviousState(NamedTuple):
    """recent: [k], the suits of the last k cards, card i at i mod k. time: steps."""

    deck: Deck
    recent: Array
    time: Array


@dataclass(frozen=True)
class RepeatPrevious(DealtGame):
    """The suit of the card before the last k - 1, from when there is one. k: 1 asks for the one that is shown."""

    k: int

    def begun(self, deck: Deck, card: Array) -> tuple[Array, PreviousState]:
        recent = jnp.where(at(jnp.int32(0), self.k), card, 0).astype(jnp.int8)
        return card, PreviousState(deck, recent, jnp.int32(0))

    def advanced(self, state: PreviousState, action: Array, deck: Deck, card: Array) -> Transition:
        time = state.time + 1
        # The card that is asked for leaves its place to the one that is dealt.
        place = at(time % self.k, self.k)
        right = jnp.any(place & (jnp.asarray(action, jnp.int8) == state.recent))
        after = PreviousState(deck, jnp.where(place, card.astype(jnp.int8), state.recent), time)
        return ended(card, after, paid(right, time >= self.k, self.cards - self.k), time == self.longest)


BITS, WORD = 2, 32
"""Of a suit, and of a word of a pile."""


def placed(pile: Array, suit: Array) -> Array:
    """A pile [W] with a suit on its top, the lowest bits of its first word."""
    carried = jnp.concatenate([suit.astype(jnp.uint32)[None], pile[:-1] >> (WORD - BITS)])
    return (pile << BITS) | carried


def taken(pile: Array) -> tuple[Array, Array]:
    """The pile without its top, and that suit."""
    carried = jnp.concatenate([pile[1:], jnp.zeros(1, jnp.uint32)]) << (WORD - BITS)
    return (pile >> BITS) | carried, (pile[0] & (SUITS - 1)).astype(jnp.int32)


class WatchedState(NamedTuple):
    """pile: [W], the suits that were shown and are not answered yet, the last one on top. time: steps."""

    deck: Deck
    pile: Array
    time: Array


class Autoencode(DealtGame):
    """All cards are shown, then their suits are asked for from the last one back.

    Observed is K and a suit while cards are shown, the last one's suit alone, and 0 behind that.
    """

    @property
    def longest(self) -> int:
        return 2 * self.cards - 1

    @property
    def observation_space(self) -> Discrete:
        return Discrete(2 * self.kinds)

    def begun(self, deck: Deck, card: Array) -> tuple[Array, WatchedState]:
        empty = jnp.zeros(-(-BITS * self.cards // WORD), jnp.uint32)
        return self.kinds + card, WatchedState(deck, placed(empty, card), jnp.int32(0))

    def advanced(self, state: WatchedState, action: Array, deck: Deck, card: Array) -> Transition:
        time, last = state.time + 1, self.cards - 1
        watches = state.time < last
        answered, due = taken(state.pile)
        pile = jnp.where(watches, placed(state.pile, card), answered)
        obs = jnp.where(watches, card, 0) + jnp.where(time < last, self.kinds, 0)
        reward = paid(action == due, ~watches, self.cards)
        # The deck is empty when cards are asked for: what is dealt then is nobody's.
        return ended(obs, WatchedState(deck, pile, time), reward, time == self.longest)


class CountState(NamedTuple):
    """questions: a deck of its own. asked: the kind whose count is due. time: steps."""

    deck: Deck
    questions: Deck
    asked: Array
    time: Array


class CountRecall(CardGame):
    """How many cards of the asked kind have been dealt. Observed is K times the card, plus the kind that is asked."""

    @property
    def action_space(self) -> Discrete:
        return Discrete(self.copies + 1)

    @property
    def observation_space(self) -> Discrete:
        return Discrete(self.kinds**2)

    def reset(self, key: Array, params: Any) -> tuple[Array, CountState]:
        chances = jax.random.uniform(key, (2,))
        deck, card = full(self.kinds, self.copies).dealt(chances[0])
        questions, asked = full(self.kinds, self.copies).dealt(chances[1])
        return card * self.kinds + asked, CountState(deck, questions, asked, jnp.int32(0))

    def step(self, key: Array, state: CountState, action: Array, params: Any) -> Transition:
        chances = jax.random.uniform(key, (2,))
        return self.asked(state, action, state.deck.dealt(chances[0]), state.questions.dealt(chances[1]))

    def asked(
        self, state: CountState, action: Array, dealt: tuple[Deck, Array], question: tuple[Deck, Array]
    ) -> Transition:
        """A step in which this card is dealt, and this kind is asked next."""
        right = action == self.copies - jnp.sum(jnp.where(at(state.asked, self.kinds), state.deck.left, 0))
        (deck, card), (questions, asked), time = dealt, question, state.time + 1
        after = CountState(deck, questions, asked, time)
        return ended(card * self.kinds + asked, after, paid(right, True, self.longest), time == self.longest)


RECALLED = exactly(1.0, "who recalls all cards earns all that rewards add up to, in every episode")


def repeat_first_cards(decks: Depth = 1) -> Ready:
    """The first card's suit is asked for at every step, while the others are dealt. POPGym's easy, medium and hard game
    have 1, 8 and 16 decks.

    Picture::

        heart | club, club, spade ...    say: heart, heart, heart ...

    Seed idea: keep one thing, for as long as it takes.
    """
    env = RepeatFirst(SUITS, decks * DECK // SUITS)
    # The shown suit is right at the first step, which makes up for its being rarer than another one later.
    right = 1 + (env.longest - 1) * (env.copies - 1) / env.longest
    return _certified(env, exactly(2 * right / env.longest - 1, "the suit that is shown"))


def repeat_previous_cards(decks: Depth = 1, k: Delay = 4) -> Ready:
    """The suit of the k-th card from the end is asked for, where k = 1 is the one that is shown. POPGym's easy, medium
    and hard game have 1, 2, 3 decks and k of 4, 32, 64.

    Picture::

        k = 2:  heart, club, spade ...    say: -, heart, club ...

    Seed idea: many things at once, each for a short while.
    """
    env = RepeatPrevious(SUITS, decks * DECK // SUITS, k)
    require(0 < k < env.cards, "that card is never dealt, or answers are never due", k=k, decks=decks)
    right = 1.0 if k == 1 else env.copies / (env.cards - 1)
    return _certified(env, exactly(2 * right - 1, "one suit for each that is shown, by how often it is right"))


def autoencode_cards(decks: Depth = 1) -> Ready:
    """A whole deck is shown, then its suits are asked for from the last one back. POPGym's easy, medium and hard game
    have 1, 2 and 3 decks.

    Picture::

        heart, club, spade | -, -    say: spade, club, heart

    Seed idea: a memory that grows with the episode.
    """
    env = Autoencode(SUITS, decks * DECK // SUITS)
    # The last card is shown when it is asked for, but where it looks like what is shown behind it.
    right = 1 + (env.cards - 1) / SUITS
    return _certified(env, exactly(2 * right / env.cards - 1, "the last suit, and any one behind it"))


def count_recall_cards(decks: Depth = 1, kinds: Kinds = "colours") -> Ready:
    """At every step a card is dealt, and it is asked how many of some kind have been. POPGym's easy, medium and hard
    game have 1, 2, 4 decks and tell cards apart by colours, suits and ranks.

    Picture::

        red, black, red ... how many red?    say: 2

    Seed idea: what came counts, and not its order.
    """
    number = {"colours": 2, "suits": SUITS, "ranks": 13}[kinds]
    env = CountRecall(number, decks * DECK // number)
    return _certified(env, exactly(_counted_blindly(env), "one count for a card of the asked kind, one for another"))


def _counted_blindly(env: CountRecall) -> float:
    """What the best policy of card and question earns: the likeliest count of all steps, by whether they are alike."""
    # Its import takes .4 s, for which every command would wait.
    from scipy.stats import hypergeom

    times, counts = np.arange(1, env.cards)[:, None], np.arange(env.copies + 1)
    # How many of the asked kind are among the t - 1 cards before the one that is shown.
    alike = hypergeom(env.cards - 1, env.copies - 1, times - 1).pmf(counts - 1).mean(0).max()
    other = hypergeom(env.cards - 1, env.copies, times - 1).pmf(counts).mean(0).max()
    right = alike / env.kinds + other * (1 - 1 / env.kinds)
    return float(2 * right - 1)


def _certified(env: Environment, memoryless: Certificate) -> Ready:
    return Ready(env, (), {MEMORYLESS: memoryless, HISTORY: RECALLED})
