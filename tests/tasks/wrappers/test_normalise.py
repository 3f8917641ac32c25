"""Normalised observations: what random play shows has mean 0 and standard deviation 1, and nothing else is changed."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqrl_jax.tasks.environment import Box, Discrete, Transition, Whole, auto_reset
from seqrl_jax.tasks.environments import environment
from seqrl_jax.tasks.ready import Ready
from seqrl_jax.tasks.wrappers import normalise_env
from seqrl_jax.tasks.wrappers.normalise import COPIES
from seqrl_jax.tasks.wrappers.registry import wrapped_environment

OTHERS = 256
"""Environments whose random play is compared with what was measured."""
ROUNDED = 0.01
"""Statistics have three digits."""


@pytest.fixture(autouse=True)
def standard_promotion():
    """gymnax's own environments mix dtypes."""
    with jax.numpy_dtype_promotion("standard"):
        yield


@dataclass(frozen=True)
class Dice(Whole):
    """Shows a constant, a number around 1000 that is new at each step, one of the episode, and the action done."""

    longest: int = 5
    action_space = Discrete(3)
    observation_space = Box((4,))

    def reset(self, key, params):
        return self._seen(key, jax.random.uniform(key), -1), (jax.random.uniform(key), jnp.int32(0))

    def step(self, key, state, action, params):
        episode, time = state
        ended = time + 1 == self.longest
        obs = self._seen(key, episode, action)
        return Transition(obs, (episode, time + 1), jnp.float32(0), ended, jnp.bool_(False), {})

    def _seen(self, key, episode, action):
        fresh = 1000 + 0.1 * jax.random.uniform(jax.random.fold_in(key, 1))
        return jnp.stack([jnp.float32(0.1), fresh, 5 * episode, jnp.float32(action)])


class Image(Dice):
    """Two channels of six places: one constant, the other fresh everywhere."""

    observation_space = Box((2, 3, 2))

    def _seen(self, key, episode, action):
        return jnp.stack([jnp.full((2, 3), 7.0), 3 * jax.random.normal(key, (2, 3)) - 4], -1)


class Scalar(Dice):
    observation_space = Box(())

    def _seen(self, key, episode, action):
        return 3 * jax.random.normal(key) - 4


class Steered(Dice):
    """Shows a continuous action."""

    action_space = Box((1,))
    observation_space = Box((1,))

    def reset(self, key, params):
        return jnp.zeros(1), (jnp.float32(0), jnp.int32(0))

    def _seen(self, key, episode, action):
        return action


def random_play(ready, steps):
    """Observations [OTHERS, steps, *O] under uniformly random actions, from other keys than the statistics."""
    env, params = auto_reset(ready.env), ready.params
    space = env.action_space

    def one(key):
        def step(carry, key):
            obs, state = carry
            act_key, env_key = jax.random.split(key)
            if isinstance(space, Discrete):
                action = jax.random.randint(act_key, (), 0, space.size)
            else:
                action = jax.random.uniform(act_key, space.shape, minval=-1, maxval=1)
            after = env.step(env_key, state, action, params)
            return (after.obs, after.state), obs

        return jax.lax.scan(step, env.reset(key, params), jax.random.split(jax.random.fold_in(key, 1), steps))[1]

    return np.asarray(jax.jit(jax.vmap(one))(jax.random.split(jax.random.key(3000), OTHERS)), np.float64)


def assert_standard(shown):
    """Mean 0 and mean square 1, within 5 standard errors of both samples: copies are independent, their steps are not.

    Args: shown: [OTHERS, ...], where everything varies alike.
    """
    for moment, expected in ((shown, 0), (shown**2, 1)):
        of_copies = moment.reshape(OTHERS, -1).mean(1)
        error = of_copies.std() * (1 / OTHERS + 1 / COPIES) ** 0.5
        assert abs(of_copies.mean() - expected) <= 5 * error + 2 * ROUNDED


@pytest.mark.parametrize("spec", ["gymnax:CartPole-v1:normalise=200", "gymnax:Pendulum-v1:normalise=200"])
def test_random_play_of_gymnaxs_environments_has_mean_zero_and_deviation_one(spec):
    ready = environment(spec)
    for component in np.moveaxis(random_play(ready, 200), -1, 0):
        assert_standard(component)
    assert (np.abs(ready.params.number.spread - 1) > 0.2).any(), "it was otherwise before"


def test_each_component_has_a_scale_of_its_own_and_a_constant_is_left_alone():
    ready = normalise_env(Ready(Dice(), ()), 100)
    shown = random_play(ready, 100)
    np.testing.assert_array_equal(shown[..., 0], np.float32(0.1))
    for component in (1, 2, 3):
        assert_standard(shown[..., component])
    scaling = ready.params.number
    np.testing.assert_allclose(scaling.mean[:3], [0, 1000.05, 2.5], rtol=0.15)
    np.testing.assert_allclose(scaling.spread[:3], [1, 0.1 / 12**0.5, 5 / 12**0.5], rtol=0.15)


def test_a_channel_of_an_image_is_one_component():
    shown = random_play(normalise_env(Ready(Image(), ()), 50), 50)
    assert shown.shape[2:] == (2, 3, 2)
    np.testing.assert_array_equal(shown[..., 0], 7)
    assert_standard(shown[..., 1])


def test_a_scalar_and_what_a_continuous_action_does_are_scaled_too():
    for env in (Scalar(), Steered()):
        ready = normalise_env(Ready(env, ()), 50)
        assert ready.env.observation_space == env.observation_space
        assert_standard(random_play(ready, 50))


def test_the_task_is_the_same_and_its_numbers_are_the_same_each_time_it_is_made():
    """Step for step what the wrapped environment shows, however far from what random play shows: nothing is clipped."""
    ready, again = (environment("gymnax:CartPole-v1:normalise=50") for _ in range(2))
    jax.tree.map(np.testing.assert_array_equal, ready.params, again.params)
    plain, scaling = environment("gymnax:CartPole-v1"), ready.params.number
    key = jax.random.key(0)
    obs, state = ready.env.reset(key, ready.params)
    own, own_state = plain.env.reset(key, plain.params)
    step, own_step = (jax.jit(one.env.step) for one in (ready, plain))
    for _ in range(60):
        np.testing.assert_allclose(obs * scaling.spread + scaling.mean, own, rtol=1e-5, atol=1e-5)
        after = step(key, state, jnp.int32(1), ready.params)
        own_after = own_step(key, own_state, jnp.int32(1), plain.params)
        assert (after.reward, after.terminated, after.truncated) == (
            own_after.reward,
            own_after.terminated,
            own_after.truncated,
        )
        (obs, state), (own, own_state) = (after.obs, after.state), (own_after.obs, own_after.state)
    assert np.abs(obs).max() > 10


def test_noise_is_part_of_what_is_measured_and_a_blank_stays_zero():
    noisy = wrapped_environment(Ready(Scalar(), ()), {"normalise": 50, "noise": 4.0})
    assert_standard(random_play(noisy, 50))
    assert float(noisy.params.number.spread) == pytest.approx(5.0, rel=0.1)
    late = wrapped_environment(Ready(Scalar(), ()), {"normalise": 50, "delay": 1, "flicker": 0.5})
    shown = random_play(late, 50)
    first = np.arange(50) % 5 == 0
    assert (shown[:, first] == 0).all()
    assert 0.45 < (shown[:, ~first] == 0).mean() < 0.55
