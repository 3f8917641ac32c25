"""The memory chain is bsuite's, step for step, and certified."""

import gymnax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqrl_jax.tasks.chain import ChainState, MemoryChain
from seqrl_jax.tasks.environments import environment


@pytest.mark.parametrize(("length", "bits"), [(1, 1), (2, 1), (7, 3)])
def test_every_step_is_that_of_gymnax(length, bits):
    ours = environment(f"memory_chain:length={length},bits={bits}")
    theirs, params = gymnax.make("MemoryChain-bsuite", num_bits=bits)
    params = params.replace(memory_length=length)
    rng = np.random.default_rng(0)
    with jax.numpy_dtype_promotion("standard"):
        for number in range(5):
            key = jax.random.key(number)
            seen, state = theirs.reset_env(key, params)
            own = ChainState(state.context, state.query, jnp.int32(0))
            np.testing.assert_array_equal(ours.env.reset(key, ours.params)[0].shape, seen.shape)
            for t in range(length + 1):
                action = int(rng.integers(2))
                seen, state, reward, _, _ = theirs.step_env(key, state, action, params)
                after = ours.env.step(key, own, jnp.int32(action), ours.params)
                own = after.state
                np.testing.assert_allclose(after.obs, seen, atol=1e-7)
                assert float(after.reward) == float(reward)
                assert bool(after.terminated) == bool(theirs.is_terminated(state, params)) == (t == length)


@pytest.mark.parametrize("length", [1, 4])
def test_a_chain_beside_longer_ones_is_the_chain_alone(length):
    alone, beside = environment(f"memory_chain:length={length},bits=2"), MemoryChain(longest=30, bits=2)
    for number in range(5):
        key = jax.random.key(number)
        (seen, state), (also, other) = (env.reset(key, alone.params) for env in (alone.env, beside))
        for t in range(length + 1):
            np.testing.assert_array_equal(seen, also)
            made, expected = (
                env.step(key, at, jnp.int32(number % 2), alone.params)
                for env, at in ((beside, other), (alone.env, state))
            )
            assert made.reward == expected.reward and made.terminated == expected.terminated == (t == length)
            (seen, state), (also, other) = (expected.obs, expected.state), (made.obs, made.state)
    assert int(beside.horizon(alone.params)) == length + 1


def test_the_first_observation_shows_the_context_and_contexts_differ():
    ready = environment("memory_chain:length=4,bits=3")
    obs, state = jax.vmap(lambda key: ready.env.reset(key, ready.params))(jax.random.split(jax.random.key(1), 500))
    np.testing.assert_array_equal(np.asarray(obs[:, 2:]), 2 * np.asarray(state.context) - 1)
    assert len({tuple(row) for row in np.asarray(state.context)}) == 8 and set(np.asarray(state.query)) == {0, 1, 2}


@pytest.mark.parametrize("bits", [1, 2])
def test_who_recalls_the_context_earns_one_and_who_does_not_nothing(bits):
    """Means of 2,000 episodes; of who answers by the query alone within 5 standard errors of what is certified."""
    ready = environment(f"memory_chain:length=3,bits={bits}")

    def episode(key):
        obs, state = ready.env.reset(key, ready.params)
        context, total, asked = obs[2:], 0.0, jnp.int32(0)
        for t in range(4):
            answer = (context[asked] > 0).astype(jnp.int32)
            after = ready.env.step(jax.random.fold_in(key, t), state, answer, ready.params)
            state, total = after.state, total + after.reward
            asked = after.obs[1].astype(jnp.int32)
        return total, jnp.where(state.context[state.query] == 0, 1.0, -1.0)

    recalled, blind = jax.jit(jax.vmap(episode))(jax.random.split(jax.random.key(2), 2000))
    assert (np.asarray(recalled) == 1).all() and ready.certified["history"].lower == 1.0
    assert ready.certified["memoryless_stochastic"].upper == pytest.approx(float(blind.mean()), abs=5 / 2000**0.5)


@pytest.mark.parametrize("bits", [1, 3, 40])
def test_all_contexts_and_queries_are_equally_likely(bits):
    ready = environment(f"memory_chain:length=5,bits={bits}")
    keys = jax.random.split(jax.random.key(5), 20_000)
    state = jax.vmap(ready.env.reset, in_axes=(0, None))(keys, ready.params)[1]
    context, query = np.asarray(state.context), np.asarray(state.query)
    error = 0.5 / len(keys) ** 0.5
    np.testing.assert_allclose(context.mean(0), 0.5, atol=5 * error)
    together = context.astype(float).T @ context / len(keys)
    np.testing.assert_allclose(together - 0.25 * np.eye(bits), 0.25, atol=5 * error)
    counts = np.bincount(query, minlength=bits)
    assert len(counts) == bits and np.abs(counts / len(keys) - 1 / bits).max() < 5 * error
