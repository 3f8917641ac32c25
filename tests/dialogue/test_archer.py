"""A critic of utterances that learns from earlier dialogues what the actor's talk is worth now."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from dialogue.enumerated import histories, spoken_by_anyone

from seqrl_jax.agents import replay as ring
from seqrl_jax.dialogue.archer import of_turns
from seqrl_jax.dialogue.conversation import unspoken
from seqrl_jax.dialogue.exact import Known, action_values, evaluated
from seqrl_jax.dialogue.methods import make_method
from seqrl_jax.dialogue.online import steps_of
from seqrl_jax.dialogue.reader import predictions
from seqrl_jax.dialogue.registry import make_game
from seqrl_jax.dialogue.views import spelling, symbol_probabilities

VIEWS = pytest.mark.parametrize("view", ["utterance", "token"])


def nodes_of(known, log):
    """[H, N]: the node of the belief at each turn of a log's dialogues, -1 behind their ends."""
    graph, num_a = known.beliefs.graph, known.game.task.num_actions
    nodes = np.full((known.horizon, len(log.length)), -1)
    for number, (said, reply, length) in enumerate(zip(log.utterance, log.reply, log.length, strict=True)):
        (node,) = (node for node in np.flatnonzero(graph.start) if graph.label[node] == reply[0])
        for turn in range(int(length)):
            nodes[turn, number] = node
            after = graph.transition[[node * num_a + said[turn]]].indices
            node = next((other for other in after if graph.label[other] == reply[turn + 1]), -1)
    return nodes


@VIEWS
def test_tables_end_at_the_values_of_the_actor_and_not_of_who_spoke(view):
    """Tables over histories, dialogues of one who says anything, an actor who prefers some utterances: at every turn Q
    and V of the actor."""
    game = make_game("twenty_questions:objects=2,turns=2")
    game = dataclasses.replace(game, task=dataclasses.replace(game.task, discount=0.8))
    known, symbols = Known(game), spelling(game, view)
    graph, rng = known.beliefs.graph, np.random.default_rng(0)
    law = rng.dirichlet(np.full(graph.num_actions, 0.3), (2, graph.num_nodes))
    made, log = spoken_by_anyone(game, symbols)
    steps, nodes = steps_of(made, game, symbols), nodes_of(known, log)
    turn, at_node = np.asarray(steps.turn), np.asarray(made.node).T[1:]
    chances = symbol_probabilities(symbols, law)[turn, nodes[turn, np.arange(turn.shape[1])], at_node]
    prob = np.take_along_axis(chances, np.asarray(steps.symbol)[..., None], -1)[..., 0]
    log_prob = jnp.asarray(np.where(np.asarray(steps.own), np.log(np.maximum(prob, 1e-30)), 0.0), jnp.float32)
    method, at = make_method(f"archer:view={view}"), histories(steps.symbols)
    shapes = {name: (at.max() + 1, size) for name, size in method.critic_heads(symbols.num_symbols)}
    tables = {name: 0.1 * jnp.asarray(rng.normal(size=shape), jnp.float32) for name, shape in shapes.items()}
    outputs = lambda tables: {name: table[at] for name, table in tables.items()}
    optimiser = optax.adam(optax.linear_schedule(0.03, 0.0003, 1500))

    def step(carry, _):
        tables, state = carry
        loss = lambda tables, target: method.critic_loss(outputs(tables), outputs(target), log_prob, steps)
        change, state = optimiser.update(jax.grad(loss)(tables, tables), state)
        return (optax.apply_updates(tables, change), state), None

    (tables, _), _ = jax.jit(lambda carry: jax.lax.scan(step, carry, length=1500))((tables, optimiser.init(tables)))
    exact = evaluated(graph, law)
    q, v = of_turns(outputs(tables), steps)
    for k, b in zip(*np.nonzero(nodes >= 0), strict=True):
        worth = action_values(graph, exact.values[k + 1])[nodes[k, b], log.utterance[b, k]]
        assert float(v[k, b]) == pytest.approx(exact.values[k][nodes[k, b]], abs=4e-3)
        assert float(q[k, b]) == pytest.approx(worth, abs=4e-3)
    anyone = evaluated(graph, np.full(law.shape, 1 / graph.num_actions))
    assert np.abs(exact.values - anyone.values).max() > 0.1


def some_dialogues(view):
    """`negotiation`, who talks in it, some dialogues of one who says anything, and outputs by chance of an actor, its
    critic and its target network."""
    game = make_game("negotiation:turns=4")
    method, symbols = make_method(f"archer:view={view},width=8,groups=4"), spelling(game, view)
    training = method.begin(symbols, None, jax.random.key(0))
    made, _ = jax.jit(lambda key: method.talked(game, symbols, training.weights, key))(jax.random.key(1))
    steps, rng = steps_of(made, game, symbols), np.random.default_rng(2)
    draw = lambda *shape: jnp.asarray(rng.normal(size=shape), jnp.float32)
    outputs = lambda heads: {name: draw(*steps.symbol.shape, size) for name, size in heads(symbols.num_symbols)}
    return method, steps, outputs(method.heads), outputs(method.critic_heads), outputs(method.critic_heads)


@VIEWS
def test_an_advantage_is_that_of_its_own_turn(view):
    """Q after an utterance's last symbol less V before its first, at all of its symbols; by a loop."""
    method, steps, actor, critic, _ = some_dialogues(view)
    found = np.asarray(method.goals(actor | critic, steps)[0])
    own, turn, said = (np.asarray(leaf) for leaf in (steps.own, steps.turn, steps.symbol))
    expected = np.zeros(found.shape)
    for b in range(own.shape[1]):
        for k in set(turn[own[:, b], b]):
            here = np.flatnonzero(own[:, b] & (turn[:, b] == k))
            expected[here, b] = float(critic["q"][here[-1], b, said[here[-1], b]] - critic["v"][here[0], b, 0])
    np.testing.assert_allclose(found, expected / np.asarray(steps.reward).sum(0).std(), atol=1e-4)
    assert not own.all() and len(set(turn[own])) > 1


@VIEWS
def test_nothing_is_learned_from_what_the_user_says(view):
    """What networks say of the user's symbols may be no number, nor does it matter which these are."""
    method, steps, actor, critic, target = some_dialogues(view)
    own = np.asarray(steps.own)
    hidden = lambda tree: jax.tree.map(lambda leaf: jnp.where(steps.own[..., None], leaf, jnp.nan), tree)

    def losses(actor, critic, target, steps):
        log_prob = method.law(actor, steps.legal).log_prob(steps.symbol)
        goals = method.goals(actor | target, steps)
        return method.critic_loss(critic, target, log_prob, steps), method.loss(actor, goals, steps)

    other = steps._replace(symbol=jnp.where(steps.own, steps.symbol, 0))
    shown = losses(actor, critic, target, steps)
    np.testing.assert_allclose(losses(hidden(actor), hidden(critic), hidden(target), other), shown, rtol=1e-5)
    gradient = jax.grad(lambda *trees: sum(losses(*trees, target, steps)), argnums=(0, 1))(actor, critic)
    for leaf in map(np.asarray, jax.tree.leaves(gradient)):
        assert not leaf[~own].any() and leaf[own].any()


def test_what_is_remembered_are_the_last_updates_and_nothing_else():
    """Blocks that carry their number: after six of them the last three, whole. Until it is full, what was not spoken,
    which may be no number, is learned from by nobody."""
    game, symbols = make_game("small_talk:turns=2"), spelling(make_game("small_talk:turns=2"), "utterance")
    method = make_method("archer:view=utterance,width=8,groups=3,members=2,remembered=3,batch=64,critic_steps=4")
    training = method.begin(symbols, None, jax.random.key(0))
    made, _ = method.talked(game, symbols, training.weights, jax.random.key(1))
    nothing = unspoken(6, symbols.longest)._replace(log_prob=jnp.full(made.log_prob.shape, jnp.nan))
    ring_before = jax.tree.map(lambda leaf: jnp.stack([leaf] * 3), nothing)
    assert jax.tree.map(jnp.shape, ring_before) == jax.tree.map(jnp.shape, training.replay.data)
    training = training._replace(replay=training.replay._replace(data=ring_before))
    learn = jax.jit(lambda training, made, key: method.evaluated(game, symbols, made, training, key)[0])
    for number in range(6):
        numbered = made._replace(logged=jnp.full(made.logged.shape, 1.0 + number))
        training = learn(training, numbered, jax.random.key(number))
        assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves((training.weights, training.target)))
        last = {1.0 + before for before in range(max(0, number - 2), number + 1)}
        blocks = np.asarray(training.replay.data.logged)
        assert (blocks == blocks[:, :1, :1]).all() and set(blocks[:, 0, 0]) - {0.0} == last
        drawn = ring.sample(jax.random.key(number), training.replay, 500, 0.0, after_another=False)
        assert set(np.asarray(ring.read(training.replay, drawn.slot, drawn.env).logged[:, 0])) == last


def test_of_one_turn_q_is_the_mean_reward():
    """`small_talk` with luck: after the critic alone has learned, Q of an utterance in answer to an opening is the mean
    of its rewards in the replay, but for a tenth of their deviation."""
    game, symbols = make_game("small_talk:turns=1,noise=0.5"), spelling(make_game("small_talk:turns=1"), "utterance")
    settings = "width=16,groups=128,updates=1,critic_steps=500,batch=512,remembered=1"
    method = make_method(f"archer:view=utterance,{settings}")

    @jax.jit
    def learned(key):
        training = method.begin(symbols, None, key)
        made, _ = method.talked(game, symbols, training.weights, key)
        training, steps = method.evaluated(game, symbols, made, training, key)
        return steps, predictions(method.critic(symbols), training.weights.critic, steps.symbols)

    steps, outputs = learned(jax.random.key(0))
    reward, said = np.asarray(steps.reward[0]), np.asarray(steps.symbols)
    q, _ = of_turns(outputs, steps)
    alike = [np.flatnonzero((said == pair[:, None]).all(0)) for pair in np.unique(said, axis=1).T]
    errors = [len(same) * (float(q[0, same[0]]) - reward[same].mean()) ** 2 for same in alike]
    assert len(alike) == 36 and np.sqrt(sum(errors) / len(reward)) < 0.1 * reward.std()
