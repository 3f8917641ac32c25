"""The divergence from the logs, of those who say something else than what they imitate."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from dialogue import compiled
from noise import shaken

from seqrl_jax.dialogue.exact import Known
from seqrl_jax.dialogue.methods import make_method
from seqrl_jax.dialogue.registry import make_game
from seqrl_jax.dialogue.talking import talk
from seqrl_jax.dialogue.views import spelling

EPISODES = 4000


@pytest.fixture(scope="module")
def known():
    """One turn, one opening, 26 utterances of two and three words."""
    return Known(make_game("visual_dialogue:turns=1"))


def tempered(prior, q):
    weight = prior * np.exp(2 * q)
    return weight / weight.sum()


def best(prior, q):
    return np.eye(len(q))[q.argmax()]


def best_of_three_draws(prior, q):
    law = np.zeros(len(q))
    for drawn in itertools.product(range(len(q)), repeat=3):
        law[max(drawn, key=lambda symbol: q[symbol])] += prior[list(drawn)].prod()
    return law


def best_of_the_three_likeliest(prior, q):
    return best(prior, np.where(np.argsort(np.argsort(-prior)) < 3, q, -np.inf))


def chances(method, symbols, weights, opening, law):
    """[A]: of utterances behind an opening, where law(prior [n], q [n]) is that of the n symbols that may be said."""
    read = np.concatenate([np.tile(opening[:, None], len(symbols.said)), symbols.said.T]).astype(np.int32)
    outputs = compiled.read(method.reader(symbols), weights, jnp.asarray(read))
    policy, q = (np.asarray(outputs[name], float)[len(opening) - 1 :] for name in ("policy", "q"))
    chance = np.ones(len(symbols.said))
    for number, length in enumerate(symbols.said_length):
        node = 0
        for place, symbol in enumerate(symbols.said[number, :length]):
            may = np.flatnonzero(symbols.legal[node])
            prior = np.exp(policy[place, number, may])
            chance[number] *= law(prior / prior.sum(), q[place, number, may])[may == symbol][0]
            node = symbols.child[node, symbol]
    return chance


@pytest.mark.parametrize(
    ("spec", "law", "view"),
    [
        ("ilql:beta=2", tempered, "utterance"),
        ("ilql:beta=2", tempered, "token"),
        ("best_of_q:candidates=3", best_of_three_draws, "utterance"),
        ("best_of_q:candidates=3", best_of_three_draws, "token"),
        ("beam_q:beam_width=3", best_of_the_three_likeliest, "utterance"),
    ],
)
def test_it_is_of_the_law_by_which_they_speak(known, spec, law, view):
    """Of every utterance log p / p_logs, p tempered or truncated as it is, and as often as p says, but for 5 standard
    errors and 3 (false alarm 1e-5)."""
    method, symbols = make_method(f"{spec},view={view},width=8"), spelling(known.game, view)
    weights = shaken(compiled.begin(method, symbols, None, jax.random.key(0)).weights, 0.7)
    (start,) = np.flatnonzero(known.beliefs.graph.start)
    reply = known.beliefs.graph.label[start]
    opening = symbols.heard[reply, : symbols.heard_length[reply]]
    chance = chances(method, symbols, weights, opening, law)
    assert chance.sum() == pytest.approx(1)
    said = np.flatnonzero(chance > 1e-9)
    stated = np.log(chance[said] / known.behaviour[start, said])
    speak = jax.jit(lambda weights, key: talk(method, known.game, symbols, weights, key, EPISODES).divergence)
    near = np.abs(np.asarray(speak(weights, jax.random.key(1)))[:, None] - stated) < 1e-3
    assert near.any(1).all()
    count = EPISODES * (np.abs(stated[:, None] - stated) < 1e-3) @ chance[said]
    assert (np.abs(near.sum(0) - count) <= 5 * np.sqrt(count) + 3).all()
