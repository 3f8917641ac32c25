"""The agents by name. A new agent is one file and one line here."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from seqrl_jax import naming, parts
from seqrl_jax.agents.base import Agent
from seqrl_jax.agents.belief import OnBelief
from seqrl_jax.agents.exploration import EpsilonGreedy
from seqrl_jax.agents.impala import IMPALA
from seqrl_jax.agents.latent_plan import LatentPlan
from seqrl_jax.agents.model_based import NaiveModel
from seqrl_jax.agents.policy_gradient import PolicyGradient
from seqrl_jax.agents.ppo import PPO
from seqrl_jax.agents.pqn import PQN
from seqrl_jax.agents.q_learning import QLearning
from seqrl_jax.agents.replay import Prioritised, Uniform
from seqrl_jax.agents.starts import Stored, Zero
from seqrl_jax.agents.targets import Max, Soft
from seqrl_jax.agents.tuned import tuned
from seqrl_jax.agents.weights import GeneralisedAdvantage, MinusBaseline, RewardToGo, TotalReturn
from seqrl_jax.networks import GRU, LSTM, FeedForward, Latent, Table, Transformer, Window

MONTE_CARLO: dict[str, Any] = {
    "memory": GRU(32),
    "learning_rate": 0.01,
    "num_envs": 16,
}


PPO_TUNED = tuned("ppo", PPO())
Q_TUNED = tuned("drqn", QLearning())
"""What Q-learners differ in is what their names say."""


@dataclass(frozen=True)
class Entry:
    """An agent with its shipped hyperparameters, one set for all tasks (see `tuned`)."""

    agent: Agent
    about: str


AGENTS: dict[str, Entry] = {
    "reinforce": Entry(PolicyGradient(weight=TotalReturn()), "policy gradient with the total return"),
    "reward_to_go": Entry(PolicyGradient(weight=RewardToGo()), "policy gradient with the reward to go"),
    "pg_obs_baseline": Entry(
        PolicyGradient(weight=MinusBaseline()), "reward to go minus b(o), fitted to Monte-Carlo returns"
    ),
    "a2c_obs": Entry(
        PolicyGradient(weight=GeneralisedAdvantage(lambda_=0.0)), "actor-critic with r + gamma V(o') - V(o)"
    ),
    "gae": Entry(
        PolicyGradient(weight=GeneralisedAdvantage(lambda_=0.9)),
        "the dial between: GAE(lambda) with V(o), valid at lambda = 1 only",
    ),
    "ppo_obs": Entry(
        PPO(memory=Table(), num_envs=32, entropy_cost=0.0, lambda_=0.95),
        "clipped surrogate with GAE(lambda) on V(o)",
    ),
    "pg_history_baseline": Entry(
        PolicyGradient(weight=MinusBaseline("history", value_learning_rate=0.003), **MONTE_CARLO),
        "recurrent policy, reward to go minus b(history)",
    ),
    "pg_state_baseline": Entry(
        PolicyGradient(weight=MinusBaseline("state", value_learning_rate=0.003), **MONTE_CARLO),
        "recurrent policy, reward to go minus b(state): a privileged baseline",
    ),
    "a2c_history": Entry(
        PolicyGradient(
            weight=GeneralisedAdvantage("history", value_learning_rate=0.01, lambda_=0.0),
            memory=GRU(32),
            learning_rate=0.003,
            num_envs=8,
        ),
        "recurrent actor-critic, legitimate again",
    ),
    "ppo": Entry(PPO_TUNED, "recurrent PPO: clipped surrogate with GAE(lambda) on V(history)"),
    "impala": Entry(tuned("impala", IMPALA()), "recurrent actor-critic with V-trace, several passes over a rollout"),
    "dqn": Entry(
        QLearning(
            memory=FeedForward(32),
            target=Max(),
            exploration=EpsilonGreedy(),
            buffer=Uniform(capacity=50_000),
            n_steps=1,
        ),
        "one-step Q-learning on the observation from a large buffer: the plain baseline",
    ),
    "q_obs": Entry(replace(Q_TUNED, memory=FeedForward()), "double Q-learning on the observation"),
    "q_window": Entry(replace(Q_TUNED, memory=Window()), "double Q-learning on the last two observations"),
    "drqn": Entry(Q_TUNED, "recurrent double Q-learning, whole-episode replay"),
    "r2d2": Entry(
        replace(Q_TUNED, start=Stored(burn_in=True), rescale_values=True, buffer=Prioritised()),
        "drqn with stored state, burn-in, rescaled values and prioritised sequences",
    ),
    "drqn_paper": Entry(
        QLearning(
            learning_rate=0.00025,
            memory=LSTM(32),
            previous_action=False,
            target=Max(),
            exploration=EpsilonGreedy(epsilon_end=0.1, exploration_share=0.1),
            start=Zero(),
            buffer=Uniform(capacity=400_000),
            n_steps=1,
            rollout_length=10,
            batch_sequences=32,
            learning_steps=40,
            target_period=62,
        ),
        "DRQN as published: random updates from an empty carry, a target 10,000 steps old, no actions in the history",
    ),
    "r2d2_paper": Entry(
        QLearning(
            learning_rate=0.0001,
            memory=LSTM(32),
            previous_reward=True,
            exploration=EpsilonGreedy(epsilon_end=0.05, exploration_share=0.1),
            start=Stored(burn_in=True),
            buffer=Prioritised(capacity=4_000_000),
            rescale_values=True,
            rollout_length=40,
            batch_sequences=64,
            target_period=625,
        ),
        "R2D2 as published: sequences of 40 behind a burn-in of 40, a target 2,500 gradient steps old",
    ),
    "q_transformer": Entry(replace(Q_TUNED, memory=Transformer()), "Q-learning on the history through attention"),
    "soft_q": Entry(tuned("soft_q", replace(Q_TUNED, target=Soft())), "recurrent soft Q-learning: a stochastic policy"),
    "pqn": Entry(tuned("pqn", PQN()), "parallel on-policy recurrent Q-learning with lambda returns, no replay"),
    "latent_q": Entry(
        # Twice as many gradient steps: a model has more to learn than a value, heaven_hell:length=1 is lost without.
        tuned("latent_q", replace(Q_TUNED, memory=Latent(), learning_steps=8)),
        "Q-learning on the state of a latent model (sequence VAE)",
    ),
    "latent_ppo": Entry(replace(PPO_TUNED, memory=Latent()), "PPO on the state of a latent model (sequence VAE)"),
    "latent_plan": Entry(tuned("latent_plan", LatentPlan()), "value iteration over the states of a latent model"),
    "naive_model": Entry(NaiveModel(), "planning on counts of p(o' | o, a) from uniform data"),
    "window_model": Entry(NaiveModel(window=2), "planning on counts of what follows the last two observations"),
    "belief_q": Entry(
        OnBelief(QLearning(learning_rate=0.001, memory=FeedForward(64), n_steps=3)),
        "Q-learning on the exact belief: what control alone can lose",
    ),
    "belief_ppo": Entry(OnBelief(PPO(memory=FeedForward(64))), "PPO on the exact belief"),
}


def make_agent(spec: str) -> Agent:
    """The agent that `spec` names: `NAME` or `NAME:key=value,...` over its hyperparameters and those of its memory.

    `memory=NAME` puts another memory in, as wide as the one before unless `width` is given.

    Raises: SpecError for an unknown name, key or value, with the nearest names.
    """
    name, settings = naming.parse(spec)
    agent = naming.lookup("agent", name, AGENTS).agent
    return agent.with_learner(parts.configured(spec, agent.learner, settings))


def agent_settings(name: str) -> list[naming.Setting]:
    """What can be set of an agent and of its parts, as it ships. Raises: SpecError for an unknown name."""
    return parts.describe(naming.lookup("agent", name, AGENTS).agent.learner)
