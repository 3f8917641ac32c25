"""Somebody else's agent in our tasks, through gymnax's interface as it was before 1.0."""

import jax
import pytest

from seqrl_jax.exact.solve import solve_anew
from seqrl_jax.tasks import make, tabular_env, tabular_params
from seqrl_jax.tasks.gymnax_adapter import to_gymnax

rejax = pytest.importorskip("rejax")

SETTINGS = {
    "total_timesteps": 60_000,
    "eval_freq": 60_000,
    "num_envs": 32,
    "num_steps": 32,
    "num_minibatches": 4,
    "num_epochs": 4,
    "learning_rate": 0.0025,
    "max_grad_norm": 0.5,
    "gamma": 0.99,
    "ent_coef": 0.01,
    "agent_kwargs": {"hidden_layer_sizes": (32, 32)},
}


@pytest.fixture(autouse=True)
def standard_promotion():
    """rejax mixes dtypes."""
    with jax.numpy_dtype_promotion("standard"):
        yield


@pytest.mark.parametrize("spec", ["tmaze:length=2,observed=true,discount=1", "locked_doors:observed=true,discount=1"])
def test_rejax_ppo_reaches_the_certified_optimum_of_an_observed_twin(spec):
    task = make(spec)
    best = solve_anew(task).values["history"]
    env, params = to_gymnax(tabular_env(task), tabular_params(task), one_hot=True, five_values=True)
    agent = rejax.PPO.create(env=env, env_params=params, **SETTINGS)
    _, (_, returns) = jax.jit(agent.train)(jax.random.PRNGKey(0))
    before, after = returns.mean(1)
    assert before < 0.85 * best.lower, "it was not there from the start"
    assert after == pytest.approx(best.lower, rel=0.02)
