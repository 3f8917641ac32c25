"""The suite's equations against another library's, on random numbers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import rlax

from seqrl_jax import estimators
from seqrl_jax.agents.ppo import clipped_surrogate
from seqrl_jax.agents.targets import Double
from seqrl_jax.dialogue.backups import expectile_loss

STEPS, GAMMA = 12, 0.9


@pytest.fixture(autouse=True)
def promotion():
    """rlax mixes dtypes."""
    with jax.numpy_dtype_promotion("standard"):
        yield


@pytest.fixture
def steps():
    """rewards; discounts, 0 where an episode ends within; values; values of what follows, those of the next step."""
    rng = np.random.default_rng(0)
    reward, values = rng.normal(size=STEPS).astype(np.float32), rng.normal(size=STEPS + 1).astype(np.float32)
    discount = np.where(np.arange(STEPS) == 5, 0.0, GAMMA).astype(np.float32)
    return tuple(map(jnp.asarray, (reward, discount, values[:-1], values[1:])))


def close(found, expected):
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


ON = jnp.ones(STEPS)
"""An end is in the discounts: rlax has no other."""


@pytest.mark.parametrize("lambda_", [0.0, 0.7, 1.0])
def test_advantages_and_lambda_returns(steps, lambda_):
    reward, discount, value, following = steps
    found = estimators.gae(reward, discount, ON, value, following, lambda_)
    values = jnp.append(value, following[-1])
    close(found, rlax.truncated_generalized_advantage_estimation(reward, discount, lambda_, values))
    found = estimators.lambda_return(reward, discount, ON, following, lambda_)
    close(found, rlax.lambda_returns(reward, discount, following, lambda_))


@pytest.mark.parametrize("n", [1, 3, 50])
def test_returns_of_some_steps(steps, n):
    reward, discount, _, following = steps
    found = estimators.n_step_return(reward, discount, ON, following, n)
    close(found, rlax.n_step_bootstrapped_returns(reward, discount, following, min(n, STEPS)))
    close(estimators.reward_to_go(reward, discount), rlax.discounted_returns(reward, discount, jnp.zeros(STEPS)))


@pytest.mark.parametrize("lambda_", [0.0, 0.7, 1.0])
@pytest.mark.parametrize("clip", [0.8, 1.0, 5.0])
def test_vtrace(steps, lambda_, clip):
    reward, discount, value, following = steps
    ratio = jnp.exp(jax.random.normal(jax.random.key(1), (STEPS,)))
    found = estimators.vtrace(reward, discount, ON, value, following, ratio, lambda_, clip, 1.0)
    other = rlax.vtrace_td_error_and_advantage(value, following, reward, discount, ratio, lambda_, clip, clip)
    close(found[0], other.errors + value)
    close(found[1], other.pg_advantage)


def test_the_clipped_surrogate(steps):
    advantage, log_ratio = steps[0], steps[2]
    found = -jnp.mean(clipped_surrogate(log_ratio, advantage, 0.2))
    close(found, rlax.clipped_surrogate_pg_loss(jnp.exp(log_ratio), advantage, 0.2))


@pytest.mark.parametrize("tau", [0.1, 0.5, 0.9])
def test_the_expectile_loss(steps, tau):
    target, predicted = steps[0], steps[2]
    close(expectile_loss(target - predicted, tau), rlax.expectile_loss(predicted, target, tau))


def test_double_q_learning(steps):
    q, target_q, taken = jax.random.normal(jax.random.key(2), (3, STEPS, 4))
    reward, discount, action = steps[0], steps[1], jnp.argmax(taken, -1)
    goal = reward + discount * Double().value(q, target_q, jnp.ones(4, bool))
    error = jax.vmap(rlax.double_q_learning)(taken, action, reward, discount, target_q, q)
    close(goal - jnp.max(taken, -1), error)


def test_rescaled_values(steps):
    close(estimators.rescale(10 * steps[0]), rlax.signed_hyperbolic(10 * steps[0], 1e-3))
    # In single precision theirs loses four digits.
    with jax.enable_x64(True):
        close(estimators.unrescale(steps[0]), rlax.signed_parabolic(jnp.asarray(steps[0], jnp.float64), 1e-3))
