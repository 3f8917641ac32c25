"""Somebody else's agent in our tasks, through gymnasium's interface."""

import pytest

from seqrl_jax.exact.solve import solve_anew
from seqrl_jax.tasks import make

gymnasium = pytest.importorskip("gymnasium")
sb3_contrib = pytest.importorskip("sb3_contrib")

from stable_baselines3.common.env_checker import check_env  # noqa: E402
from stable_baselines3.common.env_util import make_vec_env  # noqa: E402
from stable_baselines3.common.evaluation import evaluate_policy  # noqa: E402

import seqrl_jax.tasks.gymnasium_adapter  # noqa: E402, F401


@pytest.mark.parametrize("name", ["tmaze", "tiger", "memory_chain", "repeat_previous_cards"])
def test_its_checker_accepts_our_environments(name):
    check_env(gymnasium.make(f"seqrl/{name}-v0").unwrapped)


def test_recurrent_ppo_reaches_the_certified_optimum():
    settings = {"delay": 1, "horizon": 8}
    best = solve_anew(make("repeat_previous:delay=1,horizon=8")).values["history"]
    envs = make_vec_env("seqrl/repeat_previous-v0", n_envs=16, seed=1, env_kwargs=settings)
    agent = sb3_contrib.RecurrentPPO(
        "MlpLstmPolicy",
        envs,
        n_steps=32,
        batch_size=512,
        n_epochs=8,
        learning_rate=0.003,
        ent_coef=0.05,
        gae_lambda=0.9,
        gamma=1.0,
        seed=1,
        policy_kwargs={"lstm_hidden_size": 32, "net_arch": []},
    )
    agent.learn(24_576)
    mean, spread = evaluate_policy(agent, envs, 200)
    assert 0.93 * best.lower < mean < best.upper + 5 * spread / 200**0.5
