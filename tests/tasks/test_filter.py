import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqrl_jax.tasks import make, stack, tabular_env, tabular_params
from seqrl_jax.tasks.filter import first_belief, next_belief, predictive


@pytest.mark.parametrize("spec", ["rock_sample", "tiger", "flicker_grid", "hidden_market"])
def test_it_is_bayes_rule_on_the_tasks_own_arrays(spec):
    task = make(spec)
    env, params = tabular_env(task), tabular_params(task)
    alive = task.transition * ~task.terminal
    rng, step = np.random.default_rng(0), jax.jit(env.step)
    for episode in range(5):
        obs, state = env.reset(jax.random.key(episode), params)
        belief = first_belief(params, obs)
        expected = task.initial * task.initial_observation[:, obs]
        for t in range(task.horizon):
            expected = expected / expected.sum()
            np.testing.assert_allclose(belief, expected, atol=2e-6)
            action = int(rng.integers(task.num_actions))
            entered = expected @ alive[action]
            seen, ended = predictive(params, belief, jnp.int32(action), task.num_observations)
            np.testing.assert_allclose(seen, entered @ task.observation[action], atol=2e-6)
            assert float(ended) == pytest.approx(1 - entered.sum(), abs=2e-6)
            after = step(jax.random.key(1000 * episode + t), state, jnp.int32(action), params)
            if after.terminated or after.truncated:
                break
            belief = next_belief(params, belief, jnp.int32(action), after.obs)
            expected, state = entered * task.observation[action][:, int(after.obs)], after.state


def test_padding_changes_no_belief():
    tasks = [make("tiger"), make("mini_hallway")]
    _, params = stack(tasks)
    padded, own = jax.tree.map(lambda leaf: leaf[0], params), tabular_params(tasks[0])
    action = jnp.int32(tasks[0].actions.index("listen"))
    first, heard = (jnp.int32(tasks[0].observations.index(name)) for name in ("none", "hear_left"))
    small = next_belief(own, first_belief(own, first), action, heard)
    large = next_belief(padded, first_belief(padded, first), action, heard)
    np.testing.assert_allclose(large[: len(small)], small, atol=1e-6)
    assert float(small.sum()) == pytest.approx(1) and not np.asarray(large[len(small) :]).any()
