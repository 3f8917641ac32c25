"""A critic of utterances that learns from earlier dialogues what the actor's talk is worth now."""

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from dialogue import compiled
from dialogue.enumerated import Histories, learned_tables, nodes_of, spoken_by_anyone, values_of
from noise import shaken

from seqrl_jax.dialogue.answers import answers
from seqrl_jax.dialogue.exact import Known
from seqrl_jax.dialogue.methods import make_method
from seqrl_jax.dialogue.registry import make_game
from seqrl_jax.dialogue.views import spelling

VIEWS = pytest.mark.parametrize("view", ["utterance", "token"])


def said_anew(made, symbols, nodes, counts):
    """At every history of dialogues [B, T] once, each utterance as often as counts [H, nodes, A] say."""
    seen, rows = set(), []
    past, own, turn = (np.asarray(leaf) for leaf in (made.symbol, made.own, made.turn))
    for k, b in zip(*np.nonzero(nodes >= 0), strict=True):
        begin = int(np.flatnonzero(own[b] & (turn[b] == k))[0])
        if (before := past[b, :begin].tobytes()) in seen:
            continue
        seen.add(before)
        for utterance, count in enumerate(counts[k, nodes[k, b]]):
            length = int(symbols.said_length[utterance])
            symbol, mine = np.zeros_like(past[b]), np.zeros_like(own[b])
            symbol[:begin] = past[b, :begin]
            symbol[begin : begin + length] = symbols.said[utterance, :length]
            mine[begin : begin + length] = True
            rows += [(symbol, mine, np.where(mine, k, 0))] * int(count)
    symbol, own, turn = (jnp.asarray(np.stack(leaves)) for leaves in zip(*rows, strict=True))
    zeros = jnp.zeros(symbol.shape)
    return type(made)(symbol, own, jnp.zeros_like(symbol), zeros, zeros, zeros, turn, own)


@VIEWS
def test_tables_end_at_the_values_of_the_actor_and_not_of_who_spoke(view):
    """Tables over histories, dialogues of one who says anything, an actor who prefers some utterances: at every turn Q
    and V of the actor."""
    game = make_game("twenty_questions:objects=2,turns=2")
    known = Known(dataclasses.replace(game, task=dataclasses.replace(game.task, discount=0.8)))
    symbols, method = spelling(game, view), make_method(f"archer:view={view}")
    counts = np.random.default_rng(0).geometric(0.4, (2, *known.beliefs.graph.reward.shape))
    law = counts / counts.sum(-1, keepdims=True)
    made, log = spoken_by_anyone(known, symbols)
    steps = compiled.steps_of(made, known.game, symbols)
    anew = compiled.steps_of(said_anew(made, symbols, nodes_of(known, log), counts), known.game, symbols)
    histories = Histories()
    histories(steps.symbols), histories(anew.symbols)
    loss = lambda critic, target: method.critic_loss(critic, target, steps, anew)
    found = compiled.of_turns(learned_tables(loss, histories, symbols.num_symbols)(steps.symbols), steps)
    exact = values_of(known, log, law)
    np.testing.assert_allclose(found, exact, atol=4e-3)
    anyone = values_of(known, log, np.full(law.shape, 1 / law.shape[-1]))
    assert np.abs(exact[1] - anyone[1]).max() > 0.05


def begun(**settings):
    """A method with its training and dialogues of an actor that is no more the first one."""
    game = make_game("small_talk:turns=2")
    method = make_method("archer:view=utterance,width=8,groups=3,members=2,remembered=3,batch=16,critic_steps=1")
    method = dataclasses.replace(method, **settings)
    symbols = spelling(game, "utterance")
    training = compiled.begin(method, symbols, None, jax.random.key(0))
    training = training._replace(weights=shaken(training.weights, 0.3))
    talked = jax.jit(lambda weights, key: method.talked(game, symbols, weights, key)[0])
    return method, game, symbols, training, talked(training.weights, jax.random.key(2))


@partial(jax.jit, static_argnums=(0, 1, 2))
def evaluated(method, game, symbols, made, training, key):
    """The training after the critic has learned, and what the actor learns at."""
    return method.evaluated(game, symbols, made, training, key)


def test_the_target_network_follows_the_critic_and_the_actor_stays():
    """After one step it has gone a tenth of the way."""
    method, game, symbols, before, made = begun(polyak=0.1)
    after, _ = evaluated(method, game, symbols, made, before, jax.random.key(3))
    way = lambda target, critic: 0.9 * np.asarray(target) + 0.1 * np.asarray(critic)
    expected = jax.tree.map(way, before.target, after.weights.critic)
    jax.tree.map(lambda found, leaf: np.testing.assert_allclose(found, leaf, atol=1e-6), after.target, expected)
    moved = lambda one, other: any(jax.tree.leaves(jax.tree.map(lambda a, b: not np.array_equal(a, b), one, other)))
    assert moved(before.weights.critic, after.weights.critic)
    assert not moved(before.weights.actor, after.weights.actor)


def test_what_is_remembered_are_the_last_updates_and_nothing_else():
    """Blocks that carry their number: after five of them the last three. Until then turns are those of dialogues that
    were spoken."""
    method, game, symbols, training, made = begun()
    talker = method.talker(symbols, training.weights)
    say = jax.jit(lambda past, key: answers(past, 50, symbols, talker, key))
    for number in range(1, 6):
        numbered = made._replace(logged=jnp.asarray(np.full(made.logged.shape, number, np.float32)))
        training, past = evaluated(method, game, symbols, numbered, training, jax.random.key(4))
        last = set(range(max(1, number - 2), number + 1))
        assert set(np.asarray(past.logged).ravel()) - {0.0} == last
        anew = say(past, jax.random.key(number))
        assert np.asarray(anew.own).any(1).all()
    assert len(past.symbol) == 3 * 6
