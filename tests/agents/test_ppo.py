import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqrl_jax.agents import make_agent
from seqrl_jax.agents.ppo import clipped_surrogate
from seqrl_jax.tasks import make, tabular_env, tabular_params


def test_the_surrogate_is_the_published_one():
    rng = np.random.default_rng(0)
    ratio, advantage = rng.uniform(0.5, 1.5, 100), rng.normal(size=100)
    expected = np.minimum(ratio * advantage, np.clip(ratio, 0.8, 1.2) * advantage)
    found = clipped_surrogate(jnp.log(jnp.float32(ratio)), jnp.float32(advantage), 0.2)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("advantage", [1.0, -1.0])
def test_beyond_the_clip_only_the_pessimistic_side_has_a_gradient(advantage):
    slope = jax.grad(lambda log_ratio: clipped_surrogate(log_ratio, jnp.float32(advantage), 0.2))
    assert (slope(jnp.log(1.5)) == 0) == (advantage > 0)
    assert (slope(jnp.log(0.5)) == 0) == (advantage < 0)


def test_the_ratio_is_one_before_the_first_step_also_across_episodes():
    """Rollouts of 32 steps on episodes of 10: continued rollouts, terminations and truncations are all in the batch."""
    task = make("peek_maze")
    env, params, agent = tabular_env(task), tabular_params(task), make_agent("ppo_obs")

    @jax.jit
    def errors(key):
        step = lambda state, _: (lambda new: (new[0], new[1]["first_ratio_error"]))(agent.update(env, params, state))
        return jax.lax.scan(step, agent.init(key, env, params), length=5)[1]

    assert (errors(jax.random.key(0)) < 1e-5).all()
