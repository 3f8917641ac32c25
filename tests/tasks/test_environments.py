"""What every environment of the suite that is no table promises, whatever its rules."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqrl_jax import naming
from seqrl_jax.descriptions import described
from seqrl_jax.naming import SpecError
from seqrl_jax.tasks.environment import Box, auto_reset
from seqrl_jax.tasks.environments import ENVIRONMENTS, environment

SMALL = {
    "memory_chain": "memory_chain:length=5,bits=2",
    "long_tmaze": "long_tmaze:length=4,active=true",
    "multi_armed_bandit": "multi_armed_bandit:arms=3,horizon=5",
    "memory_demand": "memory_demand:answers=4",
    "key_to_door": "key_to_door:delay=5",
    "concentration": "concentration:pairs=3,flips=8",
}
"""The others are small as they are."""
EPISODES = 256


@pytest.fixture(scope="module", params=ENVIRONMENTS)
def played(request):
    """The environment, and two episodes' worth of steps of many copies that reset themselves, under random actions."""
    ready = environment(SMALL.get(request.param, request.param))
    env = auto_reset(ready.env)

    def one(key):
        begin, go = jax.random.split(key)
        obs, state = env.reset(begin, ready.params)

        def step(carry, key):
            obs, state = carry
            act, move = jax.random.split(key)
            action = jax.random.randint(act, (), 0, env.action_space.size)
            after = env.step(move, state, action, ready.params)
            return (after.obs, after.state), (obs, after._replace(state=None))

        return jax.lax.scan(step, (obs, state), jax.random.split(go, 2 * env.longest))[1]

    keys = jax.random.split(jax.random.key(3000), EPISODES)
    before, after = jax.tree.map(np.asarray, jax.jit(jax.vmap(one))(keys))
    return request.param, ready, before, after


def test_a_function_says_what_it_makes_and_every_number_of_it_has_a_domain(played):
    name = played[0]
    build, about = ENVIRONMENTS[name], described(ENVIRONMENTS[name])
    assert len(about.paragraph) > 60 and about.picture.strip() and len(about.idea) > 20
    assert set(naming.settable(build)) == set(inspect.signature(build).parameters)
    for key in naming.settable(build):
        with pytest.raises(SpecError, match=f"{key} is 'nonsense', expected") as refused:
            environment(f"{name}:{key}=nonsense")
        assert "\n" not in str(refused.value)


def test_shapes_and_types_never_change(played):
    """What scans and vmaps need; a hashable environment is one compiled program."""
    name, ready, *_ = played
    env, key = ready.env, jax.random.key(0)
    typed = lambda tree: [(leaf.shape, leaf.dtype) for leaf in jax.tree.leaves(tree)]
    begun = jax.eval_shape(lambda: env.reset(key, ready.params))
    after = jax.eval_shape(
        lambda: env.step(key, env.reset(key, ready.params)[1], jnp.int32(0), ready.params),
    )
    assert typed((after.obs, after.state)) == typed(begun)
    assert typed(after.reward) == [((), jnp.float32)]
    assert typed((after.terminated, after.truncated)) == [((), bool)] * 2
    assert env == environment(SMALL.get(name, name)).env and hash(env) == hash(environment(SMALL.get(name, name)).env)


def test_what_is_seen_lies_in_the_space(played):
    _, ready, before, after = played
    space = ready.env.observation_space
    for obs in (before, after.obs, after.info["last_obs"]):
        if isinstance(space, Box):
            assert obs.shape[2:] == space.shape and np.isfinite(obs).all()
            assert space.active is None or (obs != 0).reshape(*obs.shape[:2], -1).sum(-1).max() <= space.active
        else:
            assert obs.min() >= 0 and obs.max() < space.size


def test_episodes_end_by_their_longest_and_for_one_reason(played):
    _, ready, _, after = played
    ended = after.terminated | after.truncated
    assert not (after.terminated & after.truncated).any()
    for row in ended:
        stops = np.flatnonzero(row)
        assert np.diff([-1, *stops]).max() <= ready.env.longest
    assert ended[:, : ready.env.longest].any(1).all()


def test_the_first_observation_of_every_episode_is_that_of_a_reset(played):
    """It reaches the agent in the step that ends the episode before; the last one stands beside it."""
    _, ready, before, after = played
    ended = after.terminated | after.truncated
    np.testing.assert_array_equal(after.obs[:, :-1], before[:, 1:])
    np.testing.assert_array_equal(after.obs[~ended], after.info["last_obs"][~ended])
    keys = jax.random.split(jax.random.key(3001), 2000)
    first = np.asarray(jax.vmap(lambda key: ready.env.reset(key, ready.params)[0])(keys))
    known = {row.tobytes() for row in first} | {row.tobytes() for row in before[:, 0]}
    if len(known) < 100:
        assert {row.tobytes() for row in after.obs[ended]} <= known


def test_no_mean_of_random_play_exceeds_what_is_certified(played):
    """The mean return of first episodes, within 5 standard errors of the least upper end."""
    _, ready, _, after = played
    ended = after.terminated | after.truncated
    running = np.cumsum(ended, 1) - ended == 0
    returns = (after.reward * running).sum(1)
    for proved in ready.certified.values():
        assert proved.lower <= proved.upper
        assert returns.mean() <= proved.upper + 5 * returns.std() / EPISODES**0.5 + 1e-6
    assert ready.certified["memoryless_stochastic"].lower <= ready.certified["history"].upper
