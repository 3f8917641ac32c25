"""Episodes that begin where others ended, cheaply or not."""

from dataclasses import dataclass

import gymnax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqrl_jax.tasks.environment import Discrete, Transition, Whole, auto_reset
from seqrl_jax.tasks.environments import environment
from seqrl_jax.tasks.gymnax_adapter import from_gymnax

STEPS = 12


@dataclass(frozen=True)
class Counting(Whole):
    """Episodes of `params` steps, with a state of several shapes and types.

    resets: one of each run of `reset`, whatever the batch.
    """

    resets: list
    expensive_reset: bool = False
    longest = 9
    action_space = Discrete(2)
    observation_space = Discrete(2)

    def __hash__(self):
        return id(self)

    def reset(self, key, params):
        jax.debug.callback(lambda: self.resets.append(1))
        return jnp.int32(0), {"drawn": jax.random.normal(key, (3,)), "key": key, "time": 0, "length": params}

    def step(self, key, state, action, params):
        time = state["time"] + 1
        return Transition(time, {**state, "time": time}, 1.0, time >= params, jnp.bool_(False), {})


def walked(env, params, batch):
    """[STEPS] steps of `batch` environments: what is seen and the states after each step."""
    env = auto_reset(env)

    def of_all(call, axes, *args):
        for _ in batch:
            call = jax.vmap(call, in_axes=axes)
        return call(*args)

    begin, go = jax.random.split(jax.random.key(0))
    _, state = of_all(env.reset, (0, None), jax.random.split(begin, batch), params)

    def step(state, key):
        keys, action = jax.random.split(key, batch), jnp.zeros(batch, jnp.int32)
        after = of_all(env.step, (0, 0, 0, None), keys, state, action, params)
        return after.state, after

    return jax.jit(lambda: jax.lax.scan(step, state, jax.random.split(go, STEPS))[1])()


def plain(tree):
    keys = lambda leaf: jax.random.key_data(leaf) if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key) else leaf
    return [np.asarray(keys(leaf)) for leaf in jax.tree.leaves(tree)]


@pytest.mark.parametrize("batch", [(), (4,), (3, 4), (2, 3, 4)])
def test_an_expensive_reset_runs_on_steps_alone_that_end_something(batch):
    env, every = Counting([], True), Counting([])
    after, of_cheap = walked(env, 5, batch), walked(every, 5, batch)
    jax.effects_barrier()
    ends = int(np.asarray(after.terminated).reshape(STEPS, -1).any(1).sum())
    assert ends == 2 and len(env.resets) == 1 + ends and len(every.resets) == 1 + STEPS
    for left, right in zip(plain(after), plain(of_cheap), strict=True):
        np.testing.assert_array_equal(left, right)


def test_of_seeds_with_lengths_of_their_own_each_begins_where_it_ended():
    lengths = jnp.array([3, 5, 9])
    of = lambda env: jax.jit(jax.vmap(lambda length: walked(env, length, (2,))))(lengths)
    env = Counting([], True)
    after, of_cheap = of(env), of(Counting([]))
    jax.effects_barrier()
    ends = np.asarray(after.terminated)
    np.testing.assert_array_equal(ends.sum((1, 2)), [2 * 4, 2 * 2, 2 * 1])
    assert len(env.resets) == 1 + ends.any((0, 2)).sum()
    for left, right in zip(plain(after), plain(of_cheap), strict=True):
        np.testing.assert_array_equal(left, right)


def test_wrappers_and_adapters_say_what_they_wrap():
    assert environment("battleship").env.expensive_reset
    assert environment("battleship:flicker=0.5,previous_action=true").env.expensive_reset
    assert not environment("tiger").env.expensive_reset
    cartpole = gymnax.make("CartPole-v1")
    assert [from_gymnax(*cartpole, 0.99, costs)[0].expensive_reset for costs in (False, True)] == [False, True]
