import dataclasses
from itertools import product

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqrl_jax.agents import make_agent
from seqrl_jax.agents.rollout import Magnitude
from seqrl_jax.audit.audit import history_values
from seqrl_jax.exact.chain import belief_chain, occupancy, state_chain
from seqrl_jax.exact.gradients import (
    critic,
    expected_estimate,
    moments,
    node_values,
    softmax,
    total_return_moments,
    true_gradient,
)
from seqrl_jax.exact.state import evaluate_memoryless
from seqrl_jax.networks import Table
from seqrl_jax.tasks import make, tabular_env, tabular_params
from seqrl_jax.tasks.tabular import with_discount

ROLLOUTS, ENVS, LARGE = 400, 256, 64


def by_enumeration(episodes, task, policy, weights):
    """Mean and variance of `sum_t Psi_t grad log pi`, where weights(states, observations, rewards) -> [T] gives Psi."""
    mean, square = np.zeros_like(policy), 0.0
    for probability, steps in episodes(task, policy):
        s, o, a, r = (np.array(part) for part in zip(*steps, strict=True))
        estimate = np.zeros_like(policy)
        for t, psi in enumerate(weights(s, o, r)):
            estimate[o[t]] += psi * (np.eye(task.num_actions)[a[t]] - policy[o[t]])
        mean += probability * estimate
        square += probability * np.square(estimate).sum()
    return mean, square - np.square(mean).sum()


@pytest.fixture(params=range(6))
def problem(request, random_task):
    task = with_discount(random_task(request.param, horizon=3), 0.9)
    rng = np.random.default_rng(request.param)
    return task, rng.normal(size=(task.num_observations, task.num_actions)), rng.normal(size=task.num_observations)


def test_moments_of_returns_are_those_of_all_episodes(episodes, problem):
    task, logits, b = problem
    policy, chain, gamma = softmax(logits), state_chain(task), task.discount

    def to_go(s, o, r):
        power = gamma ** np.arange(len(r))
        return (power * r)[::-1].cumsum()[::-1] - power * b[o]

    mean, variance = by_enumeration(episodes, task, policy, to_go)
    found = moments(chain, policy, gamma, baseline=b[chain.label])
    np.testing.assert_allclose(found.mean, mean, atol=1e-12)
    assert found.variance == pytest.approx(variance, abs=1e-10)

    total = lambda s, o, r: np.full(len(r), (gamma ** np.arange(len(r)) * r).sum())
    mean, variance = by_enumeration(episodes, task, policy, total)
    found = total_return_moments(chain, policy)
    np.testing.assert_allclose(found.mean, mean, atol=1e-12)
    assert found.variance == pytest.approx(variance, abs=1e-10)


@pytest.mark.parametrize("lambda_", [0.0, 0.7, 1.0])
def test_moments_of_gae_are_those_of_all_episodes(episodes, problem, lambda_):
    task, logits, v = problem
    policy, chain, gamma = softmax(logits), state_chain(task), task.discount

    def weights(s, o, r):
        following = np.append(v[o[1:]], 0.0)
        delta = r + gamma * following - v[o]
        advantage = np.zeros(len(r) + 1)
        for t in reversed(range(len(r))):
            advantage[t] = delta[t] + gamma * lambda_ * advantage[t + 1]
        return gamma ** np.arange(len(r)) * advantage[:-1]

    mean, variance = by_enumeration(episodes, task, policy, weights)
    found = moments(chain, policy, gamma * lambda_, value=v[chain.label])
    np.testing.assert_allclose(found.mean, mean, atol=1e-12)
    assert found.variance == pytest.approx(variance, abs=1e-10)
    np.testing.assert_allclose(
        expected_estimate(chain, policy, gamma * lambda_, value=v[chain.label]), mean, atol=1e-12
    )


def test_valid_estimates_have_no_bias(problem):
    """True gradients come from differentiating the value; the estimates' means from their own formulas."""
    task, logits, b = problem
    policy, chain, gamma = softmax(logits), state_chain(task), task.discount
    truth = true_gradient(task, logits)
    reported, value = history_values(task, policy)
    state_baseline = np.random.default_rng(0).normal(size=task.num_states)[chain.state]
    for found in (
        total_return_moments(chain, policy),
        moments(chain, policy, gamma),
        moments(chain, policy, gamma, baseline=b[chain.label]),
        moments(chain, policy, gamma, baseline=state_baseline),
        moments(reported, policy, gamma, baseline=value),
        moments(reported, policy, 0.0, value=value),
        moments(reported, policy, 0.5 * gamma, value=value),
    ):
        np.testing.assert_allclose(found.mean, truth, atol=1e-11)


def test_the_two_chains_tell_the_same_story(problem):
    task, logits, _ = problem
    policy = softmax(logits)
    small, (large, beliefs) = state_chain(task), belief_chain(task, 5000)
    for chain in (small, large):
        value = chain.start @ node_values(chain, policy)[0]
        assert value == pytest.approx(float(evaluate_memoryless(task, policy)), abs=1e-12)
    by_state = lambda chain, row: np.bincount(chain.state, row, task.num_states)
    gather = lambda chain, values: np.array([by_state(chain, row) for row in values])
    np.testing.assert_allclose(
        gather(large, occupancy(large, policy)), gather(small, occupancy(small, policy)), atol=1e-12
    )
    # Where a node is met, the state has the probability that the belief gives it.
    met = occupancy(large, policy)
    for t, reported in product(range(task.horizon), range(len(beliefs))):
        here = np.bincount(large.state[large.history == reported], met[t][large.history == reported], task.num_states)
        if here.sum() > 1e-12:
            np.testing.assert_allclose(here / here.sum(), beliefs[reported], atol=1e-9)


def test_a_critic_of_state_and_time_is_exact_and_one_of_the_label_averages(problem):
    task, logits, _ = problem
    policy, chain = softmax(logits), state_chain(task)
    weight, value = occupancy(chain, policy), node_values(chain, policy)[:-1]
    total = lambda values: np.bincount(chain.label, (weight * values).sum(0), chain.label.max() + 1)
    count = total(np.ones_like(value))
    found = critic(chain, policy, chain.label, 1.0)
    np.testing.assert_allclose(found[count > 0], total(value)[count > 0] / count[count > 0])
    one_step = with_discount(dataclasses.replace(task, horizon=1), 0.9)
    np.testing.assert_allclose(
        critic(state_chain(one_step), policy, chain.label[: state_chain(one_step).num_nodes], 0.0),
        critic(state_chain(one_step), policy, chain.label[: state_chain(one_step).num_nodes], 1.0),
    )


@pytest.mark.parametrize("spec", ["switched_corridor:horizon=8,discount=0.9", "tmaze:length=1,horizon=5"])
@pytest.mark.parametrize(
    "name", ["reinforce", "reward_to_go", "pg_obs_baseline", "pg_state_baseline", "gae:lambda_=0.5"]
)
def test_the_agents_own_estimates_agree(spec, name):
    """The audit audits the code that runs: every entry of the agent's estimate within 5 standard errors of the exact
    mean (false alarms 6e-7 an entry, below 2e-4 in all), and its spread within 25% of the exact one: of 400 batches of
    256 episodes the variance is known to 7% (normal), so that this is 3.5 standard errors.
    """
    task = make(spec)
    env, params, chain = tabular_env(task), tabular_params(task), state_chain(task)
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(task.num_observations, task.num_actions)).astype(np.float32)
    policy = softmax(logits.astype(np.float64))
    agent = dataclasses.replace(make_agent(name), num_envs=ENVS, rollout_length=task.horizon, memory=Table())
    value = rng.normal(size=task.num_states if agent.weight.critic == "state" else task.num_observations)
    by_node = value[chain.state if agent.weight.critic == "state" else chain.label]
    state = agent.init(jax.random.key(0), env, params)
    table = lambda train, entries: train._replace(
        weights=jax.tree.map(lambda _: jnp.asarray(entries, jnp.float32), train.weights)
    )
    # A magnitude larger than any return stays what it is.
    state = state._replace(
        policy=table(state.policy, logits),
        value=state.value and table(state.value, value[:, None] / LARGE),
        magnitude=Magnitude(jnp.float32(LARGE), jnp.float32(LARGE)),
    )
    estimate = jax.jit(jax.vmap(lambda key: agent.estimate(env, params, state, key)[0].policy))
    samples = -np.asarray(jax.tree.leaves(estimate(jax.random.split(jax.random.key(1), ROLLOUTS)))[0], np.float64)

    exact = {
        "reinforce": lambda: total_return_moments(chain, policy),
        "reward_to_go": lambda: moments(chain, policy, task.discount),
        "gae:lambda_=0.5": lambda: moments(chain, policy, 0.5 * task.discount, value=by_node),
    }.get(name, lambda: moments(chain, policy, task.discount, baseline=by_node))()
    error = samples.std(0, ddof=1) / ROLLOUTS**0.5
    assert (np.abs(samples.mean(0) - exact.mean) <= 5 * error + 1e-6).all()
    assert samples.var(0, ddof=1).sum() * ENVS == pytest.approx(exact.variance, rel=0.25)
