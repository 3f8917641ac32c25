"""Preferences between dialogues: the optimum where nothing is luck, and which dialogues are compared."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from dialogue import compiled

from seqrl_jax.dialogue.data import data_of
from seqrl_jax.dialogue.exact import Known
from seqrl_jax.dialogue.game import Game, anything
from seqrl_jax.dialogue.logs import Log, logged
from seqrl_jax.dialogue.methods import make_method
from seqrl_jax.dialogue.preferences import Preferences, turn_weights
from seqrl_jax.dialogue.registry import make_game
from seqrl_jax.dialogue.views import spelling
from seqrl_jax.tasks.build import build, goes

REWARDS = {("start", "say_a"): ("left", 0.5), ("start", "say_b"): ("right", 0.0), ("left", "say_a"): ("left", -1.0)}
REWARDS |= {("left", "say_b"): ("right", 0.3), ("right", "say_a"): ("left", 1.2), ("right", "say_b"): ("right", -0.4)}


@pytest.fixture(scope="module")
def game():
    """Two turns, a user that leaves nothing to chance."""
    states, utterances = ["start", "left", "right"], ["say_a", "say_b"]
    task = build(
        name="plain",
        states=states,
        actions=utterances,
        observations=states,
        start={"start": 1.0},
        step=lambda state, said: goes(*REWARDS[state, said]),
        observe=lambda state: state,
        discount=1.0,
        horizon=2,
    )
    return Game(task, (anything(1.0, states, utterances, ends=False),))


def listed(game):
    rows = []
    for said in itertools.product(range(2), repeat=2):
        state, reply, reward = 0, [0], []
        for u in said:
            after = int(game.task.transition[u, state].argmax())
            reward.append(game.task.reward[u, state, after])
            reply.append(after)
            state = after
        rows.append((said, [*reply[:2], 0], reward))
    said, reply, reward = (np.array(column) for column in zip(*rows, strict=True))
    law = np.full((4, 2, 2), 0.5)
    return Log(said, reply, reward.astype(float), law, np.zeros((4, 3), int), np.full(4, 2), np.zeros(4, bool))


def test_without_luck_preferences_lead_to_the_regularised_optimum(game):
    """All pairs, a table over histories: the policy of the first turn is that of E[R] - beta KL, to 1e-3."""
    method = Preferences(view="utterance", beta=0.7)
    known, symbols = Known(game), spelling(game, "utterance")
    data = jax.device_put(data_of(listed(game), symbols, 1.0))
    one, other = np.divmod(np.arange(16), 4)
    symbol, batch = compiled.batch_of(data, symbols, jnp.asarray(np.concatenate([one, other])))
    said = np.asarray(symbol)
    number: dict[bytes, int] = {}
    at = np.array(
        [[number.setdefault(said[: t + 1, b].tobytes(), len(number)) for b in range(32)] for t in range(len(said) - 1)]
    )
    tables = {name: jnp.zeros((len(number), size)) for name, size in method.heads(symbols.num_symbols)}
    outputs = lambda tables: {name: table[at] for name, table in tables.items()}
    optimiser = optax.adam(0.03)

    def step(carry, _):
        tables, state = carry
        gradient = jax.grad(lambda tables: method.loss(outputs(tables), outputs(tables), batch).loss)(tables)
        change, state = optimiser.update(gradient, state)
        return (optax.apply_updates(tables, change), state), None

    run = jax.jit(lambda tables: jax.lax.scan(step, (tables, optimiser.init(tables)), length=3000)[0][0])
    tables = run(tables)
    plan, graph = known.regularised(0.7), known.beliefs.graph
    expected = plan.policy[0, int(np.argmax(graph.start))]
    first = number[said[:1, 0].tobytes()]
    law = method.law({name: table[first] for name, table in tables.items()}, jnp.asarray(symbols.legal[0])).probs
    np.testing.assert_allclose([law[row[0]] for row in symbols.said], expected, atol=1e-3)


def test_only_dialogues_that_open_alike_are_compared():
    game = make_game("tool_arithmetic:operations=1,turns=2")
    symbols = spelling(game, "utterance")
    log = logged(game, 300, 0)
    data = jax.device_put(data_of(log, symbols, 1.0))
    drawn = np.asarray(Preferences(batch=256).drawn(jax.random.key(0), data))
    openings = log.reply[drawn, 0]
    np.testing.assert_array_equal(openings[:128], openings[128:])
    assert len(set(drawn[128:])) > 60 and (drawn[:128] != drawn[128:]).mean() > 0.5


def test_weights_of_turns_fall_and_are_those_of_the_paper():
    weights = np.asarray(turn_weights(jnp.arange(5), jnp.full(5, 5), 0.8))
    expected = [0.8**t * (1 - 0.8 ** (5 - t)) / (1 - 0.8**5) for t in range(5)]
    np.testing.assert_allclose(weights, expected, rtol=1e-5)
    assert weights[0] == pytest.approx(1.0) and (np.diff(weights) < 0).all()


def test_a_better_dialogue_is_preferred_and_a_tie_is_a_coin(game):
    method = Preferences(view="utterance")
    symbols = spelling(game, "utterance")
    data = jax.device_put(data_of(listed(game), symbols, 1.0))
    _, batch = compiled.batch_of(data, symbols, jnp.array([0, 3]))
    zeros = {name: jnp.zeros((*batch.symbol.shape, size)) for name, size in method.heads(symbols.num_symbols)}
    loss = jax.jit(lambda outputs: method.loss(outputs, outputs, batch).metrics["preference_loss"])
    even = loss(zeros)
    assert float(even) == pytest.approx(np.log(2))
    better = int(batch.earned[1] > batch.earned[0])
    pushed = zeros | {"shift": zeros["shift"].at[0, better, batch.symbol[0, better]].add(1.0)}
    assert loss(pushed) < even
    with pytest.raises(ValueError, match="unknown weights 'rising'"):
        make_method("dmpo:weights=rising")
