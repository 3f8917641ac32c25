"""Continuous actions: what is drawn, how likely it was, and whether it is learned which to take."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from seqrl_jax.agents import make_agent, train
from seqrl_jax.agents.action_law import action_law, law_size
from seqrl_jax.networks.distributions import Categorical
from seqrl_jax.tasks.environment import Box, Discrete, Transition, everything_in
from seqrl_jax.tracks.evaluation import simulate


@dataclass(frozen=True)
class Recall:
    """Shows x = .5 or -.5, then nothing; the second action earns -(a - x)^2. With a memory the best is 0, without one
    -.25."""

    longest: int = 2
    expensive_reset: bool = False

    @property
    def action_space(self):
        return Box(())

    @property
    def observation_space(self):
        return Box((1,))

    def reset(self, key, params):
        x = jnp.where(jax.random.bernoulli(key), 0.5, -0.5)
        return x[None], (x, jnp.int32(0))

    def step(self, key, state, action, params):
        x, time = state
        reward = jnp.where(time == 1, -jnp.square(jnp.clip(action, -1, 1) - x), 0.0)
        return Transition(jnp.zeros(1), (x, time + 1), reward, jnp.bool_(False), time == 1, {})

    def action_mask(self, params: Any):
        return everything_in(self.action_space)

    def observation_mask(self, params: Any):
        return everything_in(self.observation_space)

    def discount(self, params: Any):
        return jnp.float32(1.0)

    def horizon(self, params: Any):
        return jnp.int32(2)


@pytest.mark.parametrize("shape", [(), (1,), (3,), (2, 2)])
def test_a_continuous_law_is_normal_in_every_number(shape):
    space, size = Box(shape), max(1, int(np.prod(shape)))
    out = jax.random.normal(jax.random.key(0), (5, law_size(space)))
    law = action_law(space, out, everything_in(space))
    mean, deviation = np.asarray(out[:, :size]), np.exp(np.asarray(out[:, size:]) - 0.5)
    action = law.sample(seed=jax.random.key(1))
    assert action.shape == (5, *shape)
    flat = np.asarray(action).reshape(5, size)
    np.testing.assert_allclose(law.log_prob(action), stats.norm.logpdf(flat, mean, deviation).sum(-1), rtol=1e-4)
    np.testing.assert_allclose(law.entropy(), stats.norm.entropy(mean, deviation).sum(-1), rtol=1e-4)


def test_numbered_actions_keep_their_mask():
    law = action_law(Discrete(3), jnp.zeros((2, 3)), jnp.array([True, True, False]))
    assert isinstance(law, Categorical) and law_size(Discrete(3)) == 3
    np.testing.assert_allclose(law.probs, [[0.5, 0.5, 0.0]] * 2)


def earned(name: str, seeds: int = 3, steps: int = 30_000) -> np.ndarray:
    env, agent = Recall(), make_agent(name).for_run(2, steps)

    def run(key):
        state, _ = train(agent, env, None, key, steps)
        return simulate(key, env, None, agent.policy(env, None, state), 512, 2).mean()

    return np.asarray(jax.jit(jax.vmap(run))(jax.random.split(jax.random.key(0), seeds)))


@pytest.mark.parametrize("name", ["ppo:width=16", "impala:width=16,entropy_cost=0.01,learning_rate=0.003"])
def test_a_continuous_action_is_remembered(name):
    """Above -.1, where without memory nobody passes -.25; the lowest of 20 and of 40 other seeds was -.004."""
    assert (earned(name) > -0.1).all()


def test_without_memory_the_best_is_not_to_move():
    """512 episodes all earn -.25 for a = 0, and less for any other action."""
    scores = earned("ppo:memory=none,width=16,lambda_=1", steps=20_000)
    assert (scores <= -0.25 + 1e-5).all() and (scores > -0.35).all()


@pytest.mark.parametrize("name", ["latent_ppo:width=8", "reward_to_go:memory=gru,width=8"])
def test_others_act_on_numbers_too(name):
    env = Recall()
    agent = make_agent(name).for_run(2, 2_000)
    _, metrics = jax.jit(lambda key: train(agent, env, None, key, 2_000))(jax.random.key(0))
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(metrics))


@pytest.mark.parametrize("name", ["drqn", "pqn", "latent_plan"])
def test_who_needs_numbered_actions_says_so(name):
    with pytest.raises(ValueError, match="this needs numbered ones"):
        make_agent(name).for_run(2, 1000).init(jax.random.key(0), Recall(), None)
