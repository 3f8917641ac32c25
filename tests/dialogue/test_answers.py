"""Utterances that are said anew at turns of earlier dialogues."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from dialogue import compiled

from seqrl_jax.dialogue.answers import answers
from seqrl_jax.dialogue.conversation import unspoken
from seqrl_jax.dialogue.methods import make_method
from seqrl_jax.dialogue.registry import make_game
from seqrl_jax.dialogue.views import spelling

NUMBER = 3000


@partial(jax.jit, static_argnums=1)
def noisy(weights, number):
    return jax.tree.map(lambda leaf: leaf + 1.5 * jax.random.normal(jax.random.key(number), leaf.shape), weights)


@pytest.fixture(scope="module", params=["utterance", "token"])
def spoken(request):
    """A method, its game and spelling, dialogues of one actor among some that nobody had, and answers of another."""
    game = make_game("negotiation:turns=3")
    method = make_method(f"pg_group:view={request.param},width=8,groups=3")
    symbols = spelling(game, request.param)
    first = compiled.begin(method, symbols, None, jax.random.key(0)).weights
    weights = noisy(first, 1)

    @jax.jit
    def made(key):
        past, _ = method.talked(game, symbols, noisy(first, 2), key)
        past = jax.tree.map(lambda *leaves: jnp.concatenate(leaves), past, unspoken(5, symbols.longest))
        return past, answers(past, NUMBER, symbols, method.talker(symbols, weights), key)

    return method, game, symbols, weights, *made(jax.random.key(3))


def places(past, anew):
    """[number]: where the new utterances begin; and the numbers of the dialogues [number] that begin alike."""
    begin = np.asarray(anew.own).argmax(1)
    old, new = np.asarray(past.symbol), np.asarray(anew.symbol)
    alike = lambda row, at: np.flatnonzero((old[:, :at] == row[:at]).all(1) & np.asarray(past.own)[:, at])
    return begin, [alike(row, at) for row, at in zip(new, begin, strict=True)]


def test_what_was_said_before_stays_and_one_whole_utterance_is_new(spoken):
    _, _, symbols, _, past, anew = spoken
    begin, alike = places(past, anew)
    own, new, number = np.asarray(anew.own), np.asarray(anew.symbol), 0
    for row, at, dialogues in zip(range(NUMBER), begin, alike, strict=True):
        assert len(dialogues) and np.asarray(past.turn)[dialogues[0], at] == np.asarray(anew.turn)[row, at]
        mine = np.flatnonzero(own[row])
        node = 0
        for symbol in new[row, mine]:
            node = symbols.child[node, symbol]
        assert symbols.utterance[node] >= 0 and (np.diff(mine) == 1).all()
        assert not new[row, mine[-1] + 1 :].any()
        number += not (new[row] == np.asarray(past.symbol)[dialogues]).all(1).any()
    assert number > NUMBER / 10, "most of them were never said there"


def test_its_symbols_are_drawn_by_the_talkers_law(spoken):
    """Read again they have the log-probabilities with which they were said, and the mean of p(symbol) - sum p^2 is 0,
    but for 5 standard errors."""
    method, game, symbols, weights, _, anew = spoken
    steps = compiled.steps_of(anew, game, symbols)

    @jax.jit
    def read(weights):
        law = method.law(compiled.read(method.reader(symbols), weights, steps.symbols), steps.legal)
        return law.log_prob(steps.symbol), law.probs

    own = np.asarray(steps.own)
    log_prob, probs = (np.asarray(leaf)[own] for leaf in read(weights))
    np.testing.assert_allclose(log_prob, np.asarray(steps.log_prob)[own], atol=1e-4)
    above = np.exp(log_prob) - np.square(probs).sum(-1)
    assert abs(above.mean()) < 5 * above.std() / len(above) ** 0.5
    assert probs.max(-1).mean() > 0.4, "not all is equally likely"


def test_all_turns_are_alike_likely(spoken):
    """Of each length of what was said before: as often as dialogues have turns that begin there, but for 5 standard
    errors. Dialogues that nobody had have none."""
    _, _, _, _, past, anew = spoken
    own = np.asarray(past.own)
    begins = own & ~np.pad(own, ((0, 0), (1, 0)))[:, :-1]
    share = begins.sum(0) / begins.sum()
    found = np.bincount(np.asarray(anew.own).argmax(1), minlength=len(share)) / NUMBER
    assert (np.abs(found - share) <= 5 * np.sqrt(share * (1 - share) / NUMBER)).all()
    assert len(set(begins.sum(1)) - {0}) > 1 and not begins[-5:].any()
