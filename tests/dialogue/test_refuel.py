"""Continuations of one dialogue: what they share, and what regression to their difference leads to."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from fast_to_compile import OPTIMISED

from seqrl_jax.dialogue.exact import Known, action_values, evaluated
from seqrl_jax.dialogue.methods import make_method
from seqrl_jax.dialogue.registry import make_game
from seqrl_jax.dialogue.views import spelling


@pytest.mark.parametrize("view", ["utterance", "token"])
def test_a_pair_is_one_dialogue_up_to_the_turn_where_it_parts(view):
    game = make_game("small_talk:turns=4")
    method, symbols = make_method(f"refuel:view={view},width=8,groups=64"), spelling(game, view)
    steps, _ = jax.jit(lambda key: method.spoken(game, symbols, method.begin(symbols, None, jax.random.key(0)), key))(
        jax.random.key(1)
    )
    said, turn, own, parted = (np.asarray(leaf) for leaf in (steps.symbol, steps.turn, steps.own, steps.parted))
    np.testing.assert_array_equal(parted[::2], parted[1::2])
    assert set(parted) == {0, 1, 2, 3}
    before = turn[:, ::2] < parted[::2]
    assert (said[:, ::2] == said[:, 1::2])[before].all()
    here = own[:, ::2] & (turn[:, ::2] == parted[::2])
    assert (said[:, ::2] != said[:, 1::2])[here].mean() > 0.2
    assert not steps.log_prob[~steps.own].any()


def test_the_minimum_is_q_of_who_talked():
    """`small_talk` with all its luck, one turn, a table over openings, whose speaker says anything: after regression
    beta log pi/pi_t is Q less its mean over utterances, as far as some million pairs tell."""
    known = Known(make_game("small_talk:turns=1,noise=1.0"))
    method, symbols = make_method("refuel:view=utterance,width=4,groups=30000"), spelling(known.game, "utterance")
    training = method.begin(symbols, None, jax.random.key(0))
    tables = jnp.zeros((symbols.num_symbols, symbols.num_symbols))
    optimiser = optax.adam(0.03)

    @partial(jax.jit, compiler_options=OPTIMISED)
    def learn(tables, key):
        def step(carry, key):
            tables, state = carry
            steps, _ = method.spoken(known.game, symbols, training, key)
            loss = lambda tables: method.loss({"policy": tables[steps.symbols[:-1]]}, method.goals({}, steps), steps)
            change, state = optimiser.update(jax.grad(loss)(tables), state)
            return (optax.apply_updates(tables, change), state), None

        return jax.lax.scan(step, (tables, optimiser.init(tables)), jax.random.split(key, 100))[0][0]

    tables = np.asarray(learn(tables, jax.random.key(1)))
    graph = known.beliefs.graph
    anyone = np.full((1, *graph.reward.shape), 1 / graph.num_actions)
    q = action_values(graph, evaluated(graph, anyone).values[1])
    for node in np.flatnonzero(graph.start):
        logits = tables[symbols.heard[graph.label[node], 0], symbols.said[:, 0]]
        found, expected = 0.5 * (logits - logits.mean()), q[node] - q[node].mean()
        np.testing.assert_allclose(found, expected, atol=0.05)


def test_three_are_no_pair():
    with pytest.raises(ValueError, match="in pairs"):
        make_method("refuel:members=3")
