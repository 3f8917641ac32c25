import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqrl_jax import estimators

GAMMA = 0.9


@pytest.fixture
def rewards():
    return np.random.default_rng(0).normal(size=(7, 3)).astype(np.float32)


# Two episodes: steps 0-2 end by termination, steps 3-6 at the horizon.
LAST = np.array([0, 0, 1, 0, 0, 0, 1], bool)[:, None].repeat(3, 1)
TERMINATED = np.array([0, 0, 1, 0, 0, 0, 0], bool)[:, None].repeat(3, 1)


def numpy_gae(reward, discount, continues, value, next_value, lambda_):
    advantage = np.zeros_like(reward)
    for start in range(len(reward)):
        weight = np.ones_like(reward[0])
        for t in range(start, len(reward)):
            advantage[start] += weight * (reward[t] + discount[t] * next_value[t] - value[t])
            weight = weight * discount[t] * lambda_ * continues[t]
    return advantage


@pytest.mark.parametrize("lambda_", [0.0, 0.7, 1.0])
def test_vtrace_is_the_sum_that_defines_it(rewards, lambda_):
    """Espeholt et al. (2018), eq. 1, step by step; with ratios of 1 it is GAE."""
    rng = np.random.default_rng(1)
    value, following = rng.normal(size=(2, *rewards.shape)).astype(np.float32)
    ratio = rng.uniform(0.3, 2.0, rewards.shape).astype(np.float32)
    following[:-1] = np.where(LAST[:-1], following[:-1], value[1:])
    discount = np.where(TERMINATED, 0, GAMMA).astype(np.float32)
    continues = np.where(LAST, 0.0, 1.0).astype(np.float32)
    steps = (rewards, discount, continues, value, following)
    target, advantage = estimators.vtrace(*steps, ratio, lambda_, 1.0, 0.8)
    rho, c = np.minimum(ratio, 1.0), lambda_ * np.minimum(ratio, 0.8)
    delta = rho * (rewards + discount * following - value)
    expected = value.copy()
    for start in range(len(rewards)):
        weight = np.ones_like(rewards[0])
        for t in range(start, len(rewards)):
            expected[start] += weight * delta[t]
            weight = weight * discount[t] * continues[t] * c[t]
    np.testing.assert_allclose(target, expected, rtol=1e-4, atol=1e-5)
    later = np.concatenate([(expected - value)[1:], np.zeros((1, 3), np.float32)]) * continues
    expected = rho * (rewards + discount * (following + lambda_ * later) - value)
    np.testing.assert_allclose(advantage, expected, rtol=1e-4, atol=1e-5)
    on_policy, same = estimators.vtrace(*steps, np.ones_like(ratio), lambda_, 1.0, 1.0)
    gae = estimators.gae(*steps, lambda_)
    np.testing.assert_allclose(same, gae, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(on_policy, value + gae, rtol=1e-4, atol=1e-5)


def test_reward_to_go_is_the_discounted_sum_to_the_end_of_the_episode(rewards):
    found = estimators.reward_to_go(rewards, np.where(LAST, 0, GAMMA).astype(np.float32))
    np.testing.assert_allclose(found[0], rewards[0] + GAMMA * rewards[1] + GAMMA**2 * rewards[2], rtol=1e-5)
    np.testing.assert_allclose(found[2], rewards[2], rtol=1e-5)
    np.testing.assert_allclose(found[5], rewards[5] + GAMMA * rewards[6], rtol=1e-5)


def test_what_was_paid_before_does_not_cross_an_episode(rewards):
    time = np.array([0, 1, 2, 0, 1, 2, 3])[:, None].repeat(3, 1)
    found = estimators.return_so_far(rewards, (GAMMA**time).astype(np.float32), time == 0)
    np.testing.assert_array_equal(found[3], 0)
    np.testing.assert_allclose(found[2], rewards[0] + GAMMA * rewards[1], rtol=1e-5)
    np.testing.assert_allclose(found[5], rewards[3] + GAMMA * rewards[4], rtol=1e-5)


@pytest.mark.parametrize("lambda_", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("ends", [LAST, TERMINATED], ids=["horizon ends the return", "horizon bootstraps"])
def test_gae_equals_its_definition_across_termination_and_truncation(rewards, lambda_, ends):
    rng = np.random.default_rng(1)
    value, next_value = rng.normal(size=(2, *rewards.shape)).astype(np.float32)
    discount = np.where(ends, 0, GAMMA).astype(np.float32)
    continues = np.where(LAST, 0, 1).astype(np.float32)
    found = estimators.gae(rewards, discount, continues, value, next_value, lambda_)
    expected = numpy_gae(rewards, discount, continues, value, next_value, lambda_)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_gae_at_lambda_one_is_the_return_minus_the_value(rewards):
    value = np.random.default_rng(2).normal(size=rewards.shape).astype(np.float32)
    # The observation after step t is the one before step t + 1, except where an episode ended.
    next_value = np.concatenate([value[1:], np.full_like(value[:1], np.nan)])
    next_value = np.where(LAST, 0, next_value)
    discount = np.where(LAST, 0, GAMMA).astype(np.float32)
    continues = np.where(LAST, 0, 1).astype(np.float32)
    found = estimators.gae(rewards, discount, continues, value, next_value, 1.0)
    np.testing.assert_allclose(found, estimators.reward_to_go(rewards, discount) - value, rtol=1e-4, atol=1e-5)


def test_a_truncated_episode_bootstraps_from_its_own_last_observation():
    """By hand: one step, reward 1, truncated; V(o) = 2, V(real next) = 10; the next episode's first value is 100."""
    one = lambda x: jnp.full((1, 1), x, jnp.float32)
    bootstrapped = estimators.gae(one(1), one(GAMMA), one(0), one(2), one(10), 1.0)
    ended = estimators.gae(one(1), one(0), one(0), one(2), one(10), 1.0)
    assert bootstrapped.item() == pytest.approx(1 + 9 - 2)
    assert ended.item() == pytest.approx(1 - 2)


def test_shapes_that_disagree_are_refused():
    with pytest.raises(AssertionError):
        estimators.reward_to_go(jnp.zeros((3, 2)), jnp.zeros((3,)))


def test_estimators_are_differentiable_and_jit():
    gradient = jax.jit(jax.grad(lambda r: estimators.reward_to_go(r, jnp.full_like(r, GAMMA))[0].sum()))(
        jnp.ones((4, 1))
    )
    np.testing.assert_allclose(gradient[:, 0], GAMMA ** np.arange(4), rtol=1e-6)


def episodes(seed, steps=12):
    """(reward, discount, continues, next value) of one stream with ends inside; some ends bootstrap, some do not."""
    rng = np.random.default_rng(seed)
    last = rng.random(steps) < 0.25
    bootstraps = rng.random(steps) < 0.5
    discount = np.where(last & ~bootstraps, 0.0, 0.9)
    return rng.normal(size=steps), discount, np.where(last, 0.0, 1.0), rng.normal(size=steps)


def f32(*arrays):
    return [jnp.asarray(array, jnp.float32) for array in arrays]


@pytest.mark.parametrize("steps", [1, 2, 5, 40])
def test_an_n_step_return_is_the_sum_that_it_says(steps):
    """Walk forward from every t: stop after n steps, at an episode's end, or at the end of the arrays."""
    for seed in range(10):
        reward, discount, continues, value = episodes(seed)
        expected = []
        for t in range(len(reward)):
            total, weight, k = 0.0, 1.0, t
            while True:
                total += weight * reward[k]
                weight *= discount[k]
                if k == len(reward) - 1 or k == t + steps - 1 or not continues[k]:
                    break
                k += 1
            expected.append(total + weight * value[k])
        found = estimators.n_step_return(*f32(reward, discount, continues, value), steps)
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("lambda_", [0.0, 0.6, 1.0])
def test_a_lambda_return_is_the_mixture_of_n_step_returns(lambda_):
    """`(1 - lambda) sum_n lambda^(n-1) G^(n)`, the rest of the weight on the longest one (Sutton & Barto, eq. 12.3)."""
    for seed in range(10):
        arrays = f32(*episodes(seed))
        total, longest = len(arrays[0]), np.asarray(estimators.n_step_return(*arrays, len(arrays[0])))
        expected = np.zeros(total)
        for n in range(1, total):
            one = np.asarray(estimators.n_step_return(*arrays, n))
            expected += (1 - lambda_) * lambda_ ** (n - 1) * one
        expected += lambda_ ** (total - 1) * longest
        found = estimators.lambda_return(*arrays, lambda_)
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


def test_at_lambda_0_the_value_is_that_of_the_observation_after_the_reward():
    """One state too late would be the value two steps on: 20 and 30 instead of 10 and 20."""
    reward, ones = f32([1.0, 2.0, 3.0], [1.0, 1.0, 1.0])
    found = estimators.lambda_return(reward, ones, ones, jnp.array([10.0, 20.0, 30.0]), 0.0)
    np.testing.assert_allclose(found, [11.0, 22.0, 33.0])


def test_returns_fade_behind_actions_that_were_not_greedy():
    last = jnp.array([False, False, True, False, False])
    follows = jnp.array([False, True, False, False, True])
    np.testing.assert_allclose(estimators.on_policy(last, follows, 0.25), [1, 0.25, 0, 1, 1])
    np.testing.assert_allclose(estimators.on_policy(last, follows, 1.0), [1, 1, 0, 1, 1])


def test_rescaling_is_undone_and_is_the_published_function_at_every_size():
    """In single precision the published formulas lose a small value's digits: of .001 the inverse made .00094."""
    size = np.geomspace(1e-6, 1e6, 200)
    x = np.concatenate([-size, [0.0], size])
    published = np.sign(x) * (np.sqrt(np.abs(x) + 1) - 1) + 1e-3 * x
    values, scaled = f32(x, published)
    np.testing.assert_allclose(estimators.rescale(values), published, rtol=1e-6)
    np.testing.assert_allclose(estimators.unrescale(scaled), x, rtol=2e-6)
