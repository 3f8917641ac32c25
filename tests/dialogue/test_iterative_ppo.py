"""Policy iteration by talking: what Q is that of, and what a single turn's PPO follows."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from dialogue.enumerated import histories, spoken_by_anyone

from seqrl_jax.dialogue.exact import Known, action_values, evaluated
from seqrl_jax.dialogue.methods import make_method
from seqrl_jax.dialogue.online import steps_of
from seqrl_jax.dialogue.registry import make_game
from seqrl_jax.dialogue.views import spelling, symbol_probabilities

VIEWS = pytest.mark.parametrize("view", ["utterance", "token"])


@VIEWS
def test_words_share_the_advantage_of_their_utterance(view):
    """A table of Q over histories, of one who says anything: of a first utterance it is exact, and over its words A
    adds up to what it is worth above V."""
    known = Known(make_game("twenty_questions:objects=2,turns=2"))
    method, symbols = make_method(f"iterative_ppo:view={view}"), spelling(known.game, view)
    made, log = spoken_by_anyone(known.game, symbols)
    steps = steps_of(made, known.game, symbols)
    at = histories(steps.symbols)
    table, optimiser = (
        jnp.zeros((at.max() + 1, symbols.num_symbols)),
        optax.adam(optax.linear_schedule(0.03, 3e-4, 800)),
    )

    def step(carry, _):
        table, state = carry
        gradient = jax.grad(lambda table: method.critic_loss({"q": table[at]}, steps))(table)
        change, state = optimiser.update(gradient, state)
        return (optax.apply_updates(table, change), state), None

    (table, _), _ = jax.jit(lambda carry: jax.lax.scan(step, carry, length=800))((table, optimiser.init(table)))
    graph = known.beliefs.graph
    uniform = np.full(graph.num_actions, 1 / graph.num_actions)
    plan = evaluated(graph, np.broadcast_to(uniform, (2, *graph.reward.shape)))
    exact = graph.start @ action_values(graph, plan.values[1])
    law = symbol_probabilities(symbols, uniform)[np.asarray(made.node).T[1:]]
    policy = jnp.log(jnp.maximum(jnp.asarray(law, jnp.float32), 1e-9))
    _, advantage = method.goals({"policy": policy, "q": table[at]}, steps)
    said = np.asarray(steps.symbol)
    shares = np.take_along_axis(np.asarray(advantage), said[..., None], -1)[..., 0]
    first = np.asarray(steps.own & (steps.turn == 0))
    above = (exact - graph.start @ plan.values[0]) / np.asarray(steps.reward).sum(0).std()
    for b, utterance in enumerate(log.utterance[:, 0]):
        last = np.flatnonzero(first[:, b])[-1]
        assert float(table[at[last, b], said[last, b]]) == pytest.approx(exact[utterance], abs=5e-3)
        assert shares[first[:, b], b].sum() == pytest.approx(above[utterance], abs=2e-2)


def drawn(view):
    """Dialogues, and outputs by chance of an actor, of one near it, and of a critic."""
    game = make_game("negotiation:turns=4")
    method, symbols = make_method(f"iterative_ppo:view={view},width=8,groups=4"), spelling(game, view)
    training = method.begin(symbols, None, jax.random.key(0))
    steps, _ = jax.jit(lambda key: method.spoken(game, symbols, training, key))(jax.random.key(1))
    rng = np.random.default_rng(2)
    some = lambda scale: jnp.asarray(scale * rng.normal(size=(*steps.symbol.shape, symbols.num_symbols)), jnp.float32)
    old = some(1.0)
    # In units of about one deviation, as values are.
    return method, steps._replace(reward=steps.reward / 10), old, old + some(0.3), some(1.0)


@VIEWS
def test_the_surrogate_is_an_expectation_over_all_symbols(view):
    """By hand, symbol by symbol: pi_old min(rho A, clip(rho) A), and entropies, a mean over own places."""
    method, steps, old, new, q = drawn(view)
    goals = method.goals({"policy": old, "q": q}, steps)
    total, deviation = 0.0, np.asarray(steps.reward).sum(0).std()
    places = list(zip(*np.nonzero(np.asarray(steps.own)), strict=True))
    softmax = lambda logits: np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()
    for t, b in places:
        may = np.flatnonzero(np.asarray(steps.legal)[t, b])
        before, after = (softmax(np.asarray(logits, float)[t, b, may]) for logits in (old, new))
        value = np.asarray(q, float)[t, b, may]
        merit, ratio = (value - before @ value) / deviation, after / before
        total += before @ np.minimum(ratio * merit, np.clip(ratio, 0.8, 1.2) * merit)
        total -= method.entropy_cost * after @ np.log(after)
    assert float(method.loss({"policy": new}, goals, steps)) == pytest.approx(-total / len(places), rel=1e-3)


@VIEWS
def test_the_first_step_climbs_the_mean_of_q(view):
    """At pi_old the gradient is that of E_pi Q (and of entropy), whatever V is, and that of no place of the user's."""
    method, steps, old, _, q = drawn(view)
    goals = method.goals({"policy": old, "q": q + 5.0}, steps)
    own, deviation = np.asarray(steps.own), float(np.asarray(steps.reward).sum(0).std())

    def climbed(policy):
        law = method.law({"policy": policy}, steps.legal)
        value = jnp.sum(law.probs * q, -1) / deviation + method.entropy_cost * law.entropy()
        return -jnp.sum(jnp.where(steps.own, value, 0.0)) / float(own.sum())

    found = np.asarray(jax.grad(lambda policy: method.loss({"policy": policy}, goals, steps))(old))
    np.testing.assert_allclose(found, jax.grad(climbed)(old), atol=1e-5)
    assert not found[~own].any() and found[own].any()


@VIEWS
def test_nothing_is_learned_from_what_the_user_says(view):
    """What networks say of the user's symbols may be no number, nor does it matter which these are."""
    method, steps, old, new, q = drawn(view)
    hidden = lambda leaf: jnp.where(steps.own[..., None], leaf, jnp.nan)

    def losses(old, new, q, steps):
        goals = method.goals({"policy": old, "q": q}, steps)
        return method.loss({"policy": new}, goals, steps), method.critic_loss({"q": q}, steps)

    other = steps._replace(symbol=jnp.where(steps.own, steps.symbol, 0))
    np.testing.assert_allclose(
        losses(hidden(old), hidden(new), hidden(q), other), losses(old, new, q, steps), rtol=1e-5
    )
