import dataclasses

import gymnax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqrl_jax.agents import make_agent
from seqrl_jax.agents.rollout import Magnitude
from seqrl_jax.agents.weights import MinusBaseline
from seqrl_jax.exact.state import evaluate_memoryless
from seqrl_jax.networks import Table
from seqrl_jax.tasks import make, tabular_env, tabular_params
from seqrl_jax.tasks.gymnax_adapter import from_gymnax

ROLLOUTS, ENVS, LARGE = 400, 256, 64
VALID = ["reinforce", "reward_to_go", "pg_obs_baseline", "gae:lambda_=1"]


def softmax(logits):
    weights = np.exp(logits - logits.max(-1, keepdims=True))
    return weights / weights.sum(-1, keepdims=True)


def exact_gradient(task, logits):
    """dJ / dlogits [O, A] by central differences of the exact value."""
    gradient = np.zeros_like(logits)
    for index in np.ndindex(*logits.shape):
        step = np.zeros_like(logits)
        step[index] = 1e-5
        up, down = evaluate_memoryless(task, softmax(np.stack([logits + step, logits - step])))
        gradient[index] = (up - down) / 2e-5
    return gradient


def sampled_gradients(name, task, logits, value):
    """[ROLLOUTS, O, A] independent estimates of the agent's own code, at these logits and this baseline."""
    env, params = tabular_env(task), tabular_params(task)
    agent = dataclasses.replace(make_agent(name), num_envs=ENVS, rollout_length=task.horizon, memory=Table())
    state = jax.jit(lambda key: agent.init(key, env, params))(jax.random.key(0))
    kernel = lambda weights, table: jax.tree.map(lambda _: jnp.asarray(table, jnp.float32), weights)
    if agent.weight.critic == "state":
        value = np.random.default_rng(1).normal(size=task.num_states)
    # A magnitude larger than any return stays what it is.
    state = state._replace(
        policy=state.policy._replace(weights=kernel(state.policy.weights, logits)),
        value=state.value and state.value._replace(weights=kernel(state.value.weights, value[:, None] / LARGE)),
        magnitude=Magnitude(jnp.float32(LARGE), jnp.float32(LARGE)),
    )
    estimate = jax.jit(jax.vmap(lambda key: agent.estimate(env, params, state, key)[0].policy))
    estimates = estimate(jax.random.split(jax.random.key(1), ROLLOUTS))
    return -np.asarray(jax.tree.leaves(estimates)[0], np.float64)


@pytest.fixture(scope="module", params=["switched_corridor:horizon=8,discount=0.9", "tmaze:length=1,horizon=5"])
def problem(request):
    task = make(request.param)
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(task.num_observations, task.num_actions)).astype(np.float32)
    return task, logits, rng.normal(size=task.num_observations)


@pytest.mark.parametrize("name", [*VALID, "pg_state_baseline"])
def test_valid_weights_estimate_the_exact_gradient_under_aliasing(name, problem):
    """Rollouts as long as the horizon hold one episode each, so the estimate's mean is the gradient itself.

    Every entry within 5 standard errors: false alarms 6e-7 an entry, below 1e-4 over all entries and cases.
    """
    task, logits, baseline = problem
    samples = sampled_gradients(name, task, logits, baseline)
    error = samples.std(0, ddof=1) / ROLLOUTS**0.5
    difference = np.abs(samples.mean(0) - exact_gradient(task, logits.astype(np.float64)))
    assert (difference <= 5 * error + 1e-6).all()


def test_a_td_error_on_the_observation_is_biased_under_aliasing():
    """The critic's best table in the switched corridor is one number, and the estimate is wrong by many errors."""
    task = make("switched_corridor:horizon=8,discount=0.9")
    logits = np.random.default_rng(0).normal(size=(task.num_observations, task.num_actions)).astype(np.float32)
    samples = sampled_gradients("a2c_obs", task, logits, np.array([-4.0, 0.0]))
    error = samples.std(0, ddof=1) / ROLLOUTS**0.5
    difference = np.abs(samples.mean(0) - exact_gradient(task, logits.astype(np.float64)))
    assert (difference > 20 * error + 1e-3).any()


def test_a_baseline_lowers_the_variance():
    task = make("switched_corridor:horizon=8,discount=0.9")
    logits = np.zeros((task.num_observations, task.num_actions), np.float32)
    value = np.array([-5.0, 0.0])
    spread = {
        name: sampled_gradients(name, task, logits, value).var(0).sum() for name in ("reward_to_go", "pg_obs_baseline")
    }
    assert spread["pg_obs_baseline"] < 0.7 * spread["reward_to_go"]


def test_a_critic_of_the_state_needs_numbered_states():
    cartpole, cartpole_params = gymnax.make("CartPole-v1")
    env, params = from_gymnax(cartpole, cartpole_params, discount=0.99)
    with pytest.raises(ValueError, match="needs a tabular task"):
        make_agent("pg_state_baseline").init(jax.random.key(0), env, params)


def test_an_unknown_critic_is_named():
    with pytest.raises(ValueError, match="critic is 'oracle', expected one of observation, history, state"):
        MinusBaseline("oracle")
