from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import brentq, minimize
from scipy.special import log_softmax, logsumexp

from seqrl_jax.lm import exact
from seqrl_jax.lm.base import token_log_probs
from seqrl_jax.lm.sampling import drawn_mask, sample
from seqrl_jax.lm.tasks import make_task
from seqrl_jax.networks.gpt import GPT

N, C = 3, 40


@pytest.fixture(scope="module")
def problem():
    rng = np.random.default_rng(0)
    reference = log_softmax(2 * rng.normal(size=(N, C)), axis=1)
    reference[0, 5] = -np.inf
    reference = reference - logsumexp(reference, axis=1, keepdims=True)
    return reference, np.round(rng.normal(size=(N, C)), 1), log_softmax(rng.normal(size=(N, C)), axis=1)


@pytest.mark.parametrize("beta", [0.05, 0.3, 2.0])
def test_the_optimum_s_identities(problem, beta):
    """J(pi*) = beta log Z; J(pi*) - J(q) = beta KL(q || pi*); beta (h_w - h_l) = r_w - r_l at pi*."""
    reference, reward, other = problem
    other = np.where(np.isfinite(reference), other, -np.inf)
    other = other - logsumexp(other, axis=1, keepdims=True)
    star = exact.optimum(reference, reward, beta)
    best = exact.objective(star, reference, reward, beta)
    assert best == pytest.approx(beta * exact.log_partition(reference, reward, beta).mean())
    loss = best - exact.objective(other, reference, reward, beta)
    assert loss == pytest.approx(beta * exact.divergence(other, star))
    h = star[:, 6:] - reference[:, 6:]
    np.testing.assert_allclose(beta * (h[:, 1:] - h[:, :-1]), np.diff(reward[:, 6:], axis=1), atol=1e-10)


def test_no_policy_lies_above_the_frontier(problem):
    """Against a general optimiser of E[r] under a bound on KL, from random starts."""
    reference, reward, _ = problem
    reference = np.where(np.isfinite(reference), reference, -12.0)
    reference, reward = reference[:, :6], reward[:, :6]
    reference = reference - logsumexp(reference, axis=1, keepdims=True)
    law = lambda x: log_softmax(x.reshape(reference.shape), axis=1)

    def slope(x, worth):
        """Of the mean of p . worth; also where worth is log p - log q, whose own change counts for nothing."""
        p = np.exp(law(x))
        return (p * (worth - (p * worth).sum(1, keepdims=True))).ravel() / len(p)

    for spent in (0.05, 0.4, 1.0):
        best = max(
            -minimize(
                lambda x: -exact.expected(law(x), reward),
                np.random.default_rng(seed).normal(size=reference.size),
                jac=lambda x: -slope(x, reward),
                constraints={
                    "type": "ineq",
                    "fun": lambda x, k=spent: k - exact.divergence(law(x), reference),
                    "jac": lambda x: -slope(x, law(x) - reference),
                },
                method="SLSQP",
                options={"maxiter": 1000, "ftol": 1e-12},
            ).fun
            for seed in range(3)
        )
        assert exact.frontier(reference, reward, spent) == pytest.approx(best, abs=2e-4)


def test_the_frontier_begins_at_the_reference_and_ends_at_the_best(problem):
    reference, reward, _ = problem
    assert exact.frontier(reference, reward, 0.0) == pytest.approx(exact.expected(reference, reward), abs=1e-4)
    best = np.where(np.isfinite(reference), reward, -np.inf).max(1).mean()
    assert exact.frontier(reference, reward, 50.0) == pytest.approx(best)
    cheapest = exact.optimum(reference, reward, 1e-4)
    assert exact.limit(reference, reward) == pytest.approx((exact.divergence(cheapest, reference), best), abs=1e-6)
    spent = np.linspace(0, 6, 40)
    earned = [exact.frontier(reference, reward, k) for k in spent]
    assert (np.diff(earned) >= -1e-9).all()
    assert (np.diff(earned, 2) <= 1e-6).all()  # concave
    for beta in (0.1, 1.0):
        star = exact.standing(exact.optimum(reference, reward, beta), reference, reward)
        assert star.regret == pytest.approx(0, abs=1e-9)


def test_near_no_kl_the_frontier_rises_like_a_root():
    """Two answers worth 0 and 1, equally likely: F(k) = p where log 2 - H(p) = k, so that F(k) - 1/2 is sqrt(k / 2)."""
    reference, reward = np.log([[0.5, 0.5]]), np.array([[0.0, 1.0]])
    kl = lambda p: np.log(2) + p * np.log(p) + (1 - p) * np.log(1 - p)
    for spent, error in ((0.0, 1e-4), (0.0, 1e-3), (0.05, 0.01)):
        rise = exact.frontier_rise(reference, reward, spent, error)
        before = 0.5 if spent == 0 else brentq(lambda p, k=spent: kl(p) - k, 0.5, 1 - 1e-9)
        expected = brentq(lambda p, k=spent + error: kl(p) - k, 0.5, 1 - 1e-9) - before
        assert rise == pytest.approx(expected, rel=1e-3)
        if spent == 0:
            assert rise == pytest.approx(np.sqrt(error / 2), rel=1e-2) and rise > 10 * error
    assert exact.frontier_rise(reference, reward, 0.3, 0.0) == 0
    stands = exact.standing(reference, reference, reward, kl=0.0, error=1e-4)
    assert stands.regret_standard_error == pytest.approx(np.sqrt(5e-5), rel=1e-2)


@pytest.mark.parametrize("draws", [1, 2, 16])
def test_the_best_of_n_has_its_law(problem, draws):
    reference, reward, _ = problem
    law = exact.best_of(reference, reward, draws)
    np.testing.assert_allclose(np.exp(law).sum(1), 1)
    assert exact.divergence(law, reference) <= np.log(draws) - (draws - 1) / draws + 1e-12
    if draws == 1:
        np.testing.assert_allclose(law, reference, atol=1e-12)
    # By drawing: every frequency within 5 standard errors (120 outcomes: false alarms 7e-5).
    rng, rounds = np.random.default_rng(1), 20_000
    for logs, rewards, expected in zip(reference, reward, np.exp(law), strict=True):
        drawn = rng.choice(C, size=(rounds, draws), p=np.exp(logs))
        best = drawn[np.arange(rounds), np.argmax(rewards[drawn] + 1e-9 * rng.random(drawn.shape), 1)]
        seen = np.bincount(best, minlength=C) / rounds
        assert (np.abs(seen - expected) <= 5 * np.sqrt(expected * (1 - expected) / rounds) + 1e-12).all()


def test_values_of_tokens_telescope_to_those_of_completions():
    rng, size, length, beta = np.random.default_rng(2), 3, 4, 0.3
    reference = log_softmax(rng.normal(size=size**length))
    reward = rng.normal(size=size**length)
    values = exact.soft_values(reference, reward, beta, size)
    assert [len(value) for value in values] == [1, 3, 9, 27, 81]
    assert values[0][0] == pytest.approx(beta * logsumexp(reference + reward / beta))
    star = exact.optimum(reference[None], reward[None], beta)[0]

    def token_logs(law):
        """log of each token given the ones before, along every completion: [length, 81]."""
        mass = [logsumexp(law.reshape(size**t, -1), axis=1) for t in range(length + 1)]
        along = [np.repeat(level, size ** (length - t)) for t, level in enumerate(mass)]
        return np.diff(np.array(along), axis=0)

    steps = np.diff([np.repeat(value, size ** (length - t)) for t, value in enumerate(values)], axis=0)
    np.testing.assert_allclose(beta * (token_logs(star) - token_logs(reference)), steps, atol=1e-10)
    np.testing.assert_allclose(steps.sum(0), reward - values[0][0], atol=1e-12)


LOG_PROBS = jax.jit(token_log_probs, static_argnames="model")


@pytest.mark.parametrize("name", ["keyword", "length_hack", "mod_sum"])
def test_the_law_of_a_model_is_what_it_says_completion_by_completion(name, shaken):
    task = make_task(name)
    model = GPT(task.size, task.prompts.shape[1] + task.length, width=8, layers=1, heads=2)
    weights = shaken(model)
    law = np.asarray(jax.jit(lambda weights: exact.law_of(model, task, weights))(weights))
    np.testing.assert_allclose(np.exp(law).sum(1), 1, atol=1e-4)
    texts = exact.completions(task.size, task.length, task.end)
    some = np.random.default_rng(0).choice(len(texts), 100, replace=False)
    for index in (0, len(task.prompts) - 1):
        prompt = jnp.broadcast_to(jnp.asarray(task.prompts[index], jnp.int32), (100, task.prompts.shape[1]))
        logs = LOG_PROBS(model, weights, prompt, jnp.asarray(texts[some]))
        expected = np.where(drawn_mask(jnp.asarray(texts[some]), task.end), logs, 0.0).sum(1)
        np.testing.assert_allclose(law[index, some], expected, atol=1e-4)
    assert exact.outcome_rewards(task).shape == law.shape


def test_rewarded_walks_and_the_rest_are_all_there_is(shaken):
    """What a model earns, from the listed walks and from 40,000 draws, within 5 standard errors."""
    task = make_task("random_walks")
    model = GPT(task.size, task.prompts.shape[1] + task.length, width=8, layers=1, heads=2)
    weights = shaken(model)
    # Towards the goal, which is token 0, so that something is earned.
    params = weights["params"]
    params["wte"]["embedding"] = params["wte"]["embedding"].at[0].add(0.5 * params["ln_f"]["bias"])
    law = exact.normalised(jax.jit(lambda weights: exact.rewarded_law(model, task, weights))(weights))
    values = exact.outcome_rewards(task)
    prompt = jnp.asarray(np.repeat(task.prompts, 2000, 0), jnp.int32)
    drawn = jax.jit(lambda key: sample(model, weights, key, prompt, task.length, task.end))(jax.random.key(0))
    reward = np.asarray(jax.jit(task.rewards)(prompt, drawn.tokens), np.float64)
    assert (reward > 0).sum() > 50
    error = reward.std() / np.sqrt(len(reward))
    assert abs(reward.mean() - exact.expected(law, values)) <= 5 * error


def test_the_soft_bellman_equation_of_walks_gives_the_same_partition():
    """log Z under the corpus's own law, by dynamic programming over (node, steps left) and from the listed walks."""
    task, beta = make_task("random_walks"), 0.2
    values = exact.outcome_rewards(task)
    graph = np.zeros((21, 21), bool)
    for prompt, texts in zip(task.prompts, task.rewarded, strict=True):
        for text in texts[texts[:, 0] >= 0]:
            walk = [prompt[0], *text]
            for a, b in pairwise(walk):
                if a == 0:
                    break
                graph[a, b] = True
    # Nodes from which no rewarded walk takes an edge are dead ends; their mass is in the rest either way.
    degree = np.maximum(graph.sum(1), 1)
    logs = np.full(values.shape, -np.inf)
    for index, (prompt, texts) in enumerate(zip(task.prompts, task.rewarded, strict=True)):
        for row, text in enumerate(texts):
            if text[0] >= 0:
                before = [n for n in [prompt[0], *text][:-1] if n != 0]
                logs[index, row] = -np.log(degree[before]).sum()
    with np.errstate(divide="ignore"):
        logs[:, -1] = np.log(np.maximum(1 - np.exp(logs[:, :-1]).sum(1), 0))
    listed = exact.log_partition(logs, values, beta)

    for index, prompt in enumerate(task.prompts):
        shortest = min(int(drawn_mask(jnp.asarray(t), 0).sum()) for t in task.rewarded[index] if t[0] >= 0)
        z = np.ones(21)  # worth of a walk that has not arrived
        for step in range(task.length, 0, -1):
            arrived = np.exp((1 - (step - shortest) / (task.length - shortest)) / beta)
            after = z.copy()
            after[0] = arrived
            z = np.where(graph.any(1), (graph * after).sum(1) / degree, 1.0)
        assert np.log(z[prompt[0]]) == pytest.approx(listed[index], abs=1e-6)


def test_too_many_completions_are_refused():
    with pytest.raises(ValueError, match="too many to list"):
        exact.completions(21, 9, None)
