import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqrl_jax.agents.network import (
    HistoryNetwork,
    acting,
    init_weights,
    policy_of,
    scale_outputs,
    step,
    table,
    unroll,
    unroll_pairs,
)
from seqrl_jax.networks import MEMORIES, FeedForward, StepInput, Table
from seqrl_jax.tasks.environment import Box, Discrete

T, B, SYMBOLS, ACTIONS = 10, 3, 4, 2
# Compiled as wholes: operation by operation, each of some dozen would be a program of its own.
BEGUN, STEP, TABLE, UNROLL = (jax.jit(part, static_argnums=0) for part in (init_weights, step, table, unroll))


def network_of(name, **reads):
    memory = MEMORIES[name](width=8) if name != "table" else Table()
    return HistoryNetwork(memory, 2, Discrete(SYMBOLS), Discrete(ACTIONS), **reads)


def moved(weights, seed=1):
    """Away from the zeros with which the last layer begins."""
    rng = np.random.default_rng(seed)
    noise = lambda leaf: (0.3 * rng.normal(size=leaf.shape)).astype(np.float32)
    return jax.tree.map(lambda leaf: jnp.asarray(np.asarray(leaf) + noise(leaf)), weights)


@pytest.fixture(scope="module", params=["table", "window", "gru", "transformer"])
def case(request):
    """(network, weights, a rollout of inputs with ends inside, and what really followed)."""
    reads = request.param in ("gru", "transformer")
    network = network_of(request.param, previous_action=reads, previous_reward=reads)
    weights = moved(BEGUN(network, jax.random.key(0)))
    obs = jax.random.randint(jax.random.key(2), (T + 1, B), 0, SYMBOLS)
    action = jax.random.randint(jax.random.key(4), (T + 1, B), 0, ACTIONS)
    reward = jax.random.normal(jax.random.key(5), (T + 1, B))
    first = jax.random.bernoulli(jax.random.key(3), 0.3, (T, B)).at[0].set(True)
    last = jnp.concatenate([first[1:], jnp.zeros((1, B), bool)])
    real = jnp.where(last, (obs[1:] + 1) % SYMBOLS, obs[1:])
    inputs = StepInput(obs[:-1], first, action[:-1], reward[:-1])
    return network, weights, inputs, StepInput(real, jnp.zeros((T, B), bool), action[1:], reward[1:])


@pytest.fixture(scope="module")
def truth(case):
    """Outputs at o_t and at what really followed, one step after another."""
    network, weights, inputs, following = case

    def one(carry, at):
        now, then = at
        carry, here = step(network, weights, carry, now)
        return carry, (here, step(network, weights, carry, then)[1])

    start = network.memory.initial_carry(B)
    return jax.jit(lambda *inputs: jax.lax.scan(one, start, inputs)[1])(inputs, following)


@pytest.mark.parametrize("across", [False, True])
def test_the_second_output_is_at_the_observation_that_really_followed(case, truth, across):
    network, weights, inputs, following = case
    start = network.memory.initial_carry(B)
    here, after = jax.jit(lambda *inputs: unroll_pairs(network, weights, start, *inputs, across))(inputs, following)
    true_here, true_after = truth
    np.testing.assert_allclose(here, true_here, atol=1e-5)
    going_on = np.asarray(jnp.concatenate([~inputs.first[1:], jnp.ones((1, B), bool)]))
    assert not going_on.all()
    used = np.ones_like(going_on) if across else going_on
    np.testing.assert_allclose(np.asarray(after)[used], np.asarray(true_after)[used], atol=1e-5)


def test_a_policy_begins_with_an_empty_carry(case):
    network, weights, inputs, _ = case
    policy = policy_of(acting(network, weights), network.memory.initial_carry(1), lambda key, out: out)
    inputs = inputs._replace(first=jnp.zeros((T, B), bool).at[0].set(True))

    @jax.jit
    def acted_and_read(inputs):
        act = lambda carry, inputs: policy.act(jax.random.key(0), carry, inputs)
        acted = jax.lax.scan(act, policy.initial_carry(), jax.tree.map(lambda leaf: leaf[:, 0], inputs))[1]
        return acted, unroll(network, weights, network.memory.initial_carry(B), inputs)[1][:, 0]

    np.testing.assert_allclose(*acted_and_read(inputs), atol=1e-5)


@pytest.mark.parametrize("field", ["previous_action", "previous_reward"])
def test_a_network_reads_what_is_said_and_nothing_else(field):
    """Another a_{t-1} or r_{t-1} changes the outputs of whoever reads it, except where an episode begins."""
    inputs = StepInput(
        jnp.zeros((1, 2), jnp.int32), jnp.array([[True, False]]), jnp.zeros((1, 2), jnp.int32), jnp.zeros((1, 2))
    )
    other = inputs._replace(**{field: getattr(inputs, field) + 1})
    for reads in (True, False):
        network = network_of("gru", **{field: reads})
        weights = moved(BEGUN(network, jax.random.key(0)))
        outputs = [UNROLL(network, weights, network.memory.initial_carry(2), given)[1] for given in (inputs, other)]
        differs = np.abs(np.subtract(*outputs))[0].max(-1) > 1e-4
        assert differs.tolist() == [False, reads]


@pytest.mark.parametrize("memory", [Table(), FeedForward(8)])
def test_a_table_is_the_function_at_every_observation(memory):
    network = HistoryNetwork(memory, 2, Discrete(SYMBOLS), Discrete(ACTIONS))
    weights = moved(BEGUN(network, jax.random.key(0)))
    nothing = jnp.zeros(SYMBOLS, jnp.int32)
    every = StepInput(jnp.arange(SYMBOLS), jnp.zeros(SYMBOLS, bool), nothing, jnp.zeros(SYMBOLS))
    carry = memory.initial_carry(SYMBOLS)
    _, stepped = STEP(network, weights, carry, every)
    np.testing.assert_allclose(TABLE(network, weights), stepped, atol=1e-6)
    act = jax.jit(lambda weights: acting(network, weights)(carry, every, None)[1])
    np.testing.assert_allclose(act(weights), stepped, atol=1e-6)


def test_a_function_of_the_history_is_no_table():
    network = network_of("gru")
    with pytest.raises(AssertionError, match="no table"):
        table(network, BEGUN(network, jax.random.key(0)))


@pytest.mark.parametrize("shape", [(2, 3), (5, 5, 2)])
def test_arrays_and_images_are_read(shape):
    network = HistoryNetwork(MEMORIES["gru"](width=8), 2, Box(shape), Discrete(ACTIONS), previous_action=True)
    weights = BEGUN(network, jax.random.key(0))
    nothing = jnp.zeros((T, B), jnp.int32)
    inputs = StepInput(jnp.ones((T, B, *shape)), jnp.zeros((T, B), bool), nothing, jnp.zeros((T, B)))
    run = jax.jit(lambda weights, inputs: unroll(network, weights, network.memory.initial_carry(B), inputs)[1])
    assert run(weights, inputs).shape == (T, B, 2) and (run(weights, inputs) == 0).all(), "outputs begin at zero"
    weights = moved(weights)
    assert (run(weights, inputs) != run(weights, inputs._replace(obs=2 * inputs.obs))).any()


def test_scaled_outputs_are_scaled_outputs(case):
    network, weights, inputs, _ = case
    scale = jnp.array([2.0, 0.5])
    run = jax.jit(lambda weights: unroll(network, weights, network.memory.initial_carry(B), inputs)[1])
    np.testing.assert_allclose(run(scale_outputs(weights, scale)), scale * run(weights), rtol=1e-5, atol=1e-6)
