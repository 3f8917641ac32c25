"""An actor that follows a critic of utterances: what it climbs, and what it comes to earn."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from dialogue import compiled
from dialogue.enumerated import Histories, spoken_by_anyone, values_of
from noise import shaken

from seqrl_jax.dialogue.exact import Known
from seqrl_jax.dialogue.methods import make_method
from seqrl_jax.dialogue.registry import make_game
from seqrl_jax.dialogue.talking import talk
from seqrl_jax.dialogue.views import spelling, symbol_probabilities

VIEWS = pytest.mark.parametrize("view", ["utterance", "token"])


def judged(steps, q, v, symbols):
    """Outputs of a critic that says Q [K, B] behind utterances and V before them, and no number anywhere else."""
    own, turn, said = (np.asarray(leaf) for leaf in (steps.own, steps.turn, steps.symbol))
    outputs = {"q": np.full((*own.shape, symbols.num_symbols), np.nan), "v": np.full((*own.shape, 1), np.nan)}
    for b in range(own.shape[1]):
        for k in set(turn[own[:, b], b]):
            places = np.flatnonzero(own[:, b] & (turn[:, b] == k))
            outputs["q"][places[-1], b, said[places[-1], b]] = q[k, b]
            outputs["v"][places[0], b] = v[k, b]
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), outputs)


@VIEWS
def test_a_step_with_the_right_critic_climbs_the_return_of_whole_dialogues(view):
    """All dialogues of one who says anything: the gradient of its table over histories points where that of the mean
    return does, of dialogues weighed by how much likelier they become."""
    known = Known(make_game("twenty_questions:objects=2,turns=2"))
    symbols, method = spelling(known.game, view), make_method(f"archer:view={view},entropy_cost=0")
    made, log = spoken_by_anyone(known, symbols)
    num_a = known.game.task.num_actions
    law = np.full((2, *known.beliefs.graph.reward.shape), 1 / num_a)
    steps, histories = compiled.steps_of(made, known.game, symbols), Histories()
    at = histories(steps.symbols)
    own, said, node = np.asarray(steps.own), np.asarray(steps.symbol), np.asarray(made.node).T[1:]
    table = np.zeros((len(histories.number), symbols.num_symbols), np.float32)
    chances = symbol_probabilities(symbols, np.full(num_a, 1 / num_a))
    table[at[own]] = np.log(np.maximum(chances[node[own]], 1e-9))
    log_prob = np.where(own, np.take_along_axis(table[at], said[..., None], -1)[..., 0], 0.0)
    steps = steps._replace(log_prob=jnp.asarray(log_prob))
    outputs = judged(steps, *values_of(known, log, law), symbols)
    advantage = jax.jit(lambda outputs: method.advantage(outputs, steps))(outputs)

    @jax.jit
    @jax.grad
    def climbed(table):
        return -method.actor_loss({"policy": table[at]}, advantage, steps)

    @jax.jit
    @jax.grad
    def exact(table):
        """Of the mean return."""
        likelier = jnp.where(steps.own, method.law({"policy": table[at]}, steps.legal).log_prob(said) - log_prob, 0.0)
        return jnp.mean(jnp.exp(likelier.sum(0)) * steps.reward.sum(0))

    unit = lambda gradient: np.asarray(gradient) / np.linalg.norm(gradient)
    np.testing.assert_allclose(unit(climbed(table)), unit(exact(table)), atol=1e-5)


def test_only_the_actor_learns_from_what_it_says_anew():
    game = make_game("small_talk:turns=2")
    method = make_method("iterative_ppo:view=utterance,width=8,groups=4,draws=2")
    symbols = spelling(game, "utterance")
    before = compiled.begin(method, symbols, None, jax.random.key(0))
    before = before._replace(weights=shaken(before.weights, 0.3))

    @jax.jit
    def improved(training):
        made, _ = method.talked(game, symbols, training.weights, jax.random.key(2))
        return method.improved(game, symbols, made, training, jax.random.key(3))

    after = improved(before)
    moved = lambda one, other: any(jax.tree.leaves(jax.tree.map(lambda a, b: not np.array_equal(a, b), one, other)))
    assert moved(before.weights.actor, after.weights.actor)
    assert not moved((before.weights.critic, before.target), (after.weights.critic, after.target))


@pytest.mark.parametrize("spec", ["archer:updates=100", "iterative_ppo:updates=25,groups=32"])
def test_talking_teaches_to_negotiate(spec):
    """Far above the speakers of the logs and not above the optimum, but for 5 standard errors."""
    known = Known(make_game("negotiation:turns=4"))
    method, symbols = make_method(f"{spec},view=utterance,width=16"), spelling(known.game, "utterance")

    @jax.jit
    def run(key):
        begin = method.begin(symbols, None, key)
        update = lambda _, training: method.update(known.game, symbols, None, training)[0]
        training = jax.lax.fori_loop(0, method.updates, update, begin)
        return talk(method, known.game, symbols, training.weights, key, 1000).earned

    earned = np.asarray(run(jax.random.key(0)))
    low, high = known.value(known.logged), known.value(known.best)
    assert low + 0.6 * (high - low) < earned.mean() < high + 5 * earned.std() / len(earned) ** 0.5
