"""Recurrent policies have no table, and so no row in the audit; on a task whose episodes can be listed, their own code
is held to the sum over all of them."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from seqrl_jax.agents import make_agent
from seqrl_jax.agents.network import unroll
from seqrl_jax.agents.rollout import Magnitude
from seqrl_jax.networks import GRU, StepInput
from seqrl_jax.tasks import make, tabular_env, tabular_params

ROLLOUTS, ENVS, LARGE = 400, 256, 64


@pytest.fixture(scope="module")
def listed(episodes):
    """A task, and all its episodes under the uniform policy: probabilities [N], then s, o, a, r and lengths [N, T]."""
    task = make("tmaze:length=1,horizon=4,discount=0.9")
    uniform = np.full((task.num_observations, task.num_actions), 1 / task.num_actions)
    probability, columns, lengths = [], [], []
    for chance, steps in episodes(task, uniform):
        padded = [*steps, *[(0, 0, 0, 0.0)] * (task.horizon - len(steps))]
        probability.append(chance * task.num_actions ** len(steps))
        columns.append([np.array(part) for part in zip(*padded, strict=True)])
        lengths.append(len(steps))
    s, o, a, r = (np.array(part) for part in zip(*columns, strict=True))
    within = (np.arange(task.horizon) < np.array(lengths)[:, None]).astype(np.float32)
    # `probability` leaves out the policy's part, which was that of the uniform one.
    return task, np.array(probability), s, o, a, r, within


def along(network, weights, o, a, r):
    """Outputs [N, T, ...] of a function of the history along episodes [N, T]."""
    before = lambda array: jnp.asarray(np.concatenate([np.zeros_like(array[:, :1]), array[:, :-1]], 1))
    first = jnp.zeros(o.shape, bool).at[:, 0].set(True)
    inputs = StepInput(jnp.asarray(o), first, before(a), before(r))
    by_time = jax.tree.map(lambda leaf: leaf.swapaxes(0, 1), inputs)
    return unroll(network, weights, network.memory.initial_carry(len(o)), by_time)[1].swapaxes(0, 1)


def shaken(weights, seed):
    """Weights about which nothing is special."""
    flat, shape = ravel_pytree(weights)
    return shape(0.7 * jax.random.normal(jax.random.key(seed), flat.shape))


@pytest.mark.parametrize("name", ["pg_history_baseline", "pg_state_baseline", "a2c_history"])
def test_estimates_of_recurrent_agents_agree_with_the_sum_over_all_episodes(listed, name):
    """Every entry of the estimate within 5 standard errors of the exact mean (about 150 entries: false alarms below
    1e-4), and its spread within 25% of the exact one, which is 3.5 standard errors."""
    task, chance, s, o, a, r, within = listed
    env, params = tabular_env(task), tabular_params(task)
    agent = dataclasses.replace(make_agent(name), num_envs=ENVS, rollout_length=task.horizon, memory=GRU(4))
    state = agent.init(jax.random.key(0), env, params)
    # A magnitude larger than any return stays what it is.
    magnitude = Magnitude(jnp.float32(LARGE), jnp.float32(LARGE))
    policy_weights, value_weights = shaken(state.policy.weights, 1), shaken(state.value.weights, 2)
    value_weights = jax.tree.map(lambda leaf: leaf / 8, value_weights)
    state = state._replace(
        policy=state.policy._replace(weights=policy_weights),
        value=state.value._replace(weights=value_weights),
        magnitude=magnitude,
    )

    policy = agent.policy_network(env)
    log_law = lambda weights: jnp.take_along_axis(
        jax.nn.log_softmax(along(policy, weights, o, a, r)), jnp.asarray(a)[..., None], -1
    )[..., 0]
    met = chance * np.exp((np.asarray(log_law(policy_weights), np.float64) * within).sum(1))
    assert met.sum() == pytest.approx(1, abs=1e-5)

    gamma_t = task.discount ** np.arange(task.horizon)
    if name == "pg_state_baseline":
        value = LARGE * np.asarray(value_weights["params"]["head"]["kernel"])[s, 0]
    else:
        value = LARGE * np.asarray(along(agent.network(env, 1), value_weights, o, a, r))[..., 0]
    if name == "a2c_history":
        value = value * within
        following = np.concatenate([value[:, 1:], np.zeros((len(value), 1))], 1)
        psi = gamma_t * (r + task.discount * following - value)
    else:
        to_go = (gamma_t * r)[:, ::-1].cumsum(1)[:, ::-1]
        psi = to_go - gamma_t * value
    psi = jnp.asarray(psi * within, jnp.float32)

    each = jax.jacrev(lambda weights: jnp.sum(psi * log_law(weights), 1))(policy_weights)
    each = np.concatenate([np.asarray(leaf, np.float64).reshape(len(met), -1) for leaf in jax.tree.leaves(each)], 1)
    mean = met @ each
    variance = met @ np.square(each).sum(1) - np.square(mean).sum()

    flat = lambda tree: ravel_pytree(tree)[0]
    estimate = jax.jit(jax.vmap(lambda key: flat(agent.estimate(env, params, state, key)[0].policy)))
    samples = -np.asarray(estimate(jax.random.split(jax.random.key(3), ROLLOUTS)), np.float64)
    error = samples.std(0, ddof=1) / ROLLOUTS**0.5
    assert (np.abs(samples.mean(0) - mean) <= 5 * error + 1e-5).all()
    assert samples.var(0, ddof=1).sum() * ENVS == pytest.approx(variance, rel=0.25)
    # The critic is not the policy's value: to bootstrap from it is biased, to subtract it is not.
    if name != "a2c_history":
        reward = jnp.asarray((gamma_t * r * within).sum(1), jnp.float32)
        objective = lambda weights: jnp.sum(
            jnp.asarray(chance, jnp.float32) * jnp.exp(jnp.sum(log_law(weights) * within, 1)) * reward
        )
        truth = np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(jax.grad(objective)(policy_weights))])
        np.testing.assert_allclose(mean, truth, atol=1e-4)
