import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import log_softmax

from seqrl_jax.lm import exact, tasks
from seqrl_jax.lm.alignment import measure
from seqrl_jax.lm.distillation import BestOfDistilled
from seqrl_jax.lm.evaluation import judge
from seqrl_jax.lm.labels import Labeller
from seqrl_jax.lm.registry import RLOO
from seqrl_jax.lm.reward_quality import accuracy, correlation_within, known_of_pairs, known_of_texts
from seqrl_jax.lm.stage import Aligning
from seqrl_jax.networks.gpt import GPT


@pytest.fixture(scope="module")
def judged(shaken):
    """A judge of two references of a task with four texts, and what a method hands on: the references."""
    task = tasks.reversal(size=2, length=2)
    model = GPT(2, 4, width=8, layers=1, heads=1)
    weights = jax.tree.map(lambda *leaves: jnp.stack(leaves), shaken(model, 0), shaken(model, 3))
    return judge(model, task, weights), Aligning(weights, weights, None, jnp.array([1.0, -1.0]))


def test_correlation_is_within_prompts():
    rng = np.random.default_rng(0)
    law = log_softmax(rng.normal(size=(3, 20)), axis=1)
    first, second = rng.normal(size=(2, 3, 20))
    constants = 10 * rng.normal(size=(3, 1))
    of = correlation_within(law, first, second)
    assert correlation_within(law, first + constants, 2 * second) == pytest.approx(of) and abs(of) < 0.9
    assert correlation_within(law, first, -first) == pytest.approx(-1)
    assert correlation_within(law, first, 0 * first + constants) == pytest.approx(0, abs=1e-9)
    cov = np.cov(first[0], second[0], aweights=np.exp(law[0]), ddof=0)
    assert correlation_within(law[:1], first[:1], second[:1]) == pytest.approx(
        cov[0, 1] / np.sqrt(cov[0, 0] * cov[1, 1])
    )


def test_pairs_are_ranked_right_wrong_or_neither():
    assert float(accuracy(jnp.array([[2.0, 1.0], [0.0, 1.0], [1.0, 1.0], [3.0, 1.0]]))) == pytest.approx(2.5 / 4)


def test_where_kl_costs_nothing_the_best_reward_is_the_optimum(judged):
    one, aligning = judged
    best = np.where(np.isfinite(one.references[0]), one.rewards, -np.inf).max(1).mean()
    assert one.best_objective(0.0) == pytest.approx([best, best])
    for beta in (1e-3, 0.3):
        assert max(one.best_objective(beta)) <= best
    free = dataclasses.replace(RLOO, kl_coef=0.0)
    measured = measure(free, one, [0, 1], aligning)
    expected = [best - exact.expected(law, one.rewards) for law in one.references]
    assert not measured.failures and measured.metrics["shortfall"] == pytest.approx(expected, abs=1e-6)


def test_the_gold_reward_knows_everything_and_its_opposite_the_contrary(judged):
    """Seed 0 has learned the gold reward, seed 1 its opposite. The policies are pi_0, which reaches E[learned]."""
    one, aligning = judged
    learned = lambda fitted: lambda prompt, tokens: fitted * one.task.rewards(prompt, tokens)
    known = known_of_texts(one, learned, aligning, 0.3)
    assert known["rm_correlation"] == pytest.approx([1, -1], abs=1e-6)
    assert known["learned_regret"][0] == pytest.approx(0, abs=1e-6) and known["learned_regret"][1] > 0.1
    for seed, (sign, law) in enumerate(zip((1, -1), one.references, strict=True)):
        star = exact.optimum(law, sign * one.rewards, 0.3)
        assert known["learned_reward"][seed] == pytest.approx(exact.expected(star, one.rewards), abs=1e-5)
        best = 0.3 * exact.log_partition(law, sign * one.rewards, 0.3).mean()
        assert known["climbing_gap"][seed] == pytest.approx(best - sign * exact.expected(law, one.rewards), abs=1e-5)
    pairs = known_of_pairs(one, learned, aligning, Labeller())
    assert pairs["rm_loss"][0] == pairs["gold_loss"][0] and pairs["rm_accuracy"][0] == pairs["gold_accuracy"][0] > 0.5
    assert pairs["rm_accuracy"][1] == pytest.approx(1 - pairs["gold_accuracy"][1]) and pairs["rm_loss"][1] > np.log(2)


def test_distilled_answers_have_the_law_of_the_best_of_n(judged):
    """The share of right ones within 5 standard errors; exactly `1 - (1 - p)^n` of each prompt."""
    one, _ = judged
    reference = jax.tree.map(lambda leaf: leaf[0], one.weights)
    method = BestOfDistilled(draws=3, prompts=4096)
    best = jax.jit(lambda key: method.best_answers(key, one.model, one.task, reference))(jax.random.key(0))
    right = float(one.task.rewards(best.prompt, best.chosen).mean())
    expected = one.best_of(3)[0].reward
    assert expected > one.best_of(1)[0].reward + 0.1
    assert abs(right - expected) <= 5 * np.sqrt(expected * (1 - expected) / 4096)
