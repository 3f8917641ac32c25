import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqrl_jax.agents.history import HistoryFunction, single
from seqrl_jax.agents.rollout import StepInput
from seqrl_jax.memory import MEMORIES, FeedForward, Table
from seqrl_jax.tasks.environment import Box, Discrete

T, B, SYMBOLS = 10, 3, 4


def small(name):
    return MEMORIES[name](width=8) if name != "table" else Table()


@pytest.fixture(scope="module", params=["table", "window", "gru", "transformer"])
def case(request):
    """(function, weights, a rollout of observations with ends inside, and the observations that really followed)."""
    function = HistoryFunction(small(request.param), 2, Discrete(SYMBOLS))
    weights = function.init(jax.random.key(0))
    weights = jax.tree.map(lambda leaf: leaf + 0.3 * jax.random.normal(jax.random.key(1), leaf.shape), weights)
    obs = jax.random.randint(jax.random.key(2), (T + 1, B), 0, SYMBOLS)
    first = jax.random.bernoulli(jax.random.key(3), 0.3, (T, B)).at[0].set(True)
    last = jnp.concatenate([first[1:], jnp.zeros((1, B), bool)])
    real = jnp.where(last, (obs[1:] + 1) % SYMBOLS, obs[1:])
    return function, weights, obs[:-1], first, real


def seen(obs, first):
    return StepInput(obs, first, jnp.zeros(first.shape, jnp.int32))


def truth(function, weights, obs, first, next_obs):
    """Outputs at o_t and at the real next observation, one step after another."""
    carry, here, after = function.initialise(weights, B), [], []
    for o, f, n in zip(obs, first, next_obs, strict=True):
        carry, out = function.step(weights, carry, seen(o, f))
        here.append(out)
        after.append(function.step(weights, carry, seen(n, jnp.zeros(B, bool)))[1])
    return jnp.stack(here), jnp.stack(after)


@pytest.mark.parametrize("across", [False, True])
def test_the_second_output_is_at_the_observation_that_really_followed(case, across):
    function, weights, obs, first, real = case
    start, actions = function.initialise(weights, B), jnp.zeros((T, B), jnp.int32)
    here, after = function.unroll_pairs(weights, start, seen(obs, first), actions, real, across)
    true_here, true_after = truth(*case)
    np.testing.assert_allclose(here, true_here, atol=1e-5)
    going_on = np.asarray(jnp.concatenate([~first[1:], jnp.ones((1, B), bool)]))
    assert not going_on.all()
    everywhere = np.ones_like(going_on)
    used = everywhere if across else going_on
    np.testing.assert_allclose(np.asarray(after)[used], np.asarray(true_after)[used], atol=1e-5)


def test_a_policy_begins_with_an_empty_memory(case):
    function, weights, obs, *_ = case
    policy = single(function.acting(weights), function.initialise(weights, 1), lambda key, out: out)
    carry, outs = policy.initialise(), []
    for o in obs[:, 0]:
        carry, out = policy.act(jax.random.key(0), carry, o)
        outs.append(out)
    begun = jnp.zeros((T, B), bool).at[0].set(True)
    read = function.unroll(weights, function.initialise(weights, B), seen(obs, begun))
    np.testing.assert_allclose(jnp.stack(outs), read[:, 0], atol=1e-5)


@pytest.mark.parametrize("memory", [Table(), FeedForward(8)])
def test_a_table_is_the_function_at_every_observation(memory):
    function = HistoryFunction(memory, 2, Discrete(SYMBOLS))
    weights = jax.tree.map(lambda leaf: leaf + 0.1, function.init(jax.random.key(0)))
    carry, everything = function.initialise(weights, SYMBOLS), jnp.arange(SYMBOLS)
    every = seen(everything, jnp.zeros(SYMBOLS, bool))
    _, stepped = function.step(weights, carry, every)
    np.testing.assert_array_equal(function.table(weights), stepped)
    np.testing.assert_array_equal(function.acting(weights)(carry, every, None)[1], stepped)


def test_a_function_of_the_history_is_no_table():
    function = HistoryFunction(small("gru"), 2, Discrete(SYMBOLS))
    with pytest.raises(AssertionError, match="no table"):
        function.table(function.init(jax.random.key(0)))


def test_arrays_are_observed_as_they_are():
    function = HistoryFunction(small("gru"), 2, Box((2, 3)))
    weights = function.init(jax.random.key(0))
    given = seen(jnp.ones((T, B, 2, 3)), jnp.zeros((T, B), bool))
    out = function.unroll(weights, function.initialise(weights, B), given)
    assert out.shape == (T, B, 2) and (out == 0).all(), "outputs begin at zero"
