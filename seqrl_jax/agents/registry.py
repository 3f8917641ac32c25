"""The agents by name. A new agent is one file and one line here."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from seqrl_jax import naming
from seqrl_jax.agents.base import Agent
from seqrl_jax.agents.belief import OnBelief
from seqrl_jax.agents.latent import Latent
from seqrl_jax.agents.latent_plan import LatentPlan
from seqrl_jax.agents.model_based import NaiveModel
from seqrl_jax.agents.policy_gradient import (
    PolicyGradient,
    generalised_advantage,
    minus_baseline,
    reward_to_go,
    total_return,
)
from seqrl_jax.agents.ppo import PPO
from seqrl_jax.agents.pqn import PQN
from seqrl_jax.agents.q_learning import QLearning
from seqrl_jax.memory import GRU, MEMORIES, FeedForward, Table, Transformer, Window, memory_name

MONTE_CARLO: dict[str, Any] = {
    "memory": GRU(32),
    "learning_rate": 0.01,
    "value_learning_rate": 0.003,
    "num_envs": 16,
}


@dataclass(frozen=True)
class Entry:
    """An agent with its shipped hyperparameters, one set for all tasks (`benchmarks/sweep.py` and
    `benchmarks/sweep_history.py` found them)."""

    agent: Agent
    about: str


AGENTS: dict[str, Entry] = {
    "reinforce": Entry(PolicyGradient(weight=total_return), "policy gradient with the total return"),
    "reward_to_go": Entry(PolicyGradient(weight=reward_to_go), "policy gradient with the reward to go"),
    "pg_obs_baseline": Entry(
        PolicyGradient(weight=minus_baseline), "reward to go minus b(o), fitted to Monte-Carlo returns"
    ),
    "a2c_obs": Entry(
        PolicyGradient(weight=generalised_advantage, lambda_=0.0), "actor-critic with r + gamma V(o') - V(o)"
    ),
    "gae": Entry(
        PolicyGradient(weight=generalised_advantage, lambda_=0.9),
        "the dial between: GAE(lambda) with V(o), valid at lambda = 1 only",
    ),
    "ppo_obs": Entry(
        PPO(memory=Table(), num_envs=32, entropy_cost=0.0, lambda_=0.95),
        "clipped surrogate with GAE(lambda) on V(o)",
    ),
    "pg_history_baseline": Entry(
        PolicyGradient(weight=minus_baseline, critic="history", **MONTE_CARLO),
        "recurrent policy, reward to go minus b(history)",
    ),
    "pg_state_baseline": Entry(
        PolicyGradient(weight=minus_baseline, critic="state", **MONTE_CARLO),
        "recurrent policy, reward to go minus b(state): a privileged baseline",
    ),
    "a2c_history": Entry(
        PolicyGradient(
            weight=generalised_advantage,
            lambda_=0.0,
            critic="history",
            memory=GRU(32),
            learning_rate=0.003,
            value_learning_rate=0.01,
            num_envs=8,
        ),
        "recurrent actor-critic, legitimate again",
    ),
    "ppo": Entry(PPO(), "recurrent PPO: clipped surrogate with GAE(lambda) on V(history)"),
    "q_obs": Entry(QLearning(memory=FeedForward(32)), "double Q-learning on the observation"),
    "q_window": Entry(QLearning(memory=Window(2, 32)), "double Q-learning on the last two observations"),
    "drqn": Entry(QLearning(), "recurrent double Q-learning, whole-episode replay"),
    "r2d2": Entry(
        QLearning(replayed="stored", burn_in=True, rescale_values=True, priority_exponent=0.9),
        "drqn with stored state, burn-in, rescaled values and prioritised sequences",
    ),
    "q_transformer": Entry(QLearning(memory=Transformer(32)), "Q-learning on the history through attention"),
    "soft_q": Entry(QLearning(soft=True), "recurrent soft Q-learning: a stochastic policy"),
    "pqn": Entry(PQN(), "parallel on-policy recurrent Q-learning with lambda returns, no replay"),
    "latent_q": Entry(QLearning(memory=Latent()), "Q-learning on the state of a latent model (sequence VAE)"),
    "latent_ppo": Entry(PPO(memory=Latent()), "PPO on the state of a latent model (sequence VAE)"),
    "latent_plan": Entry(LatentPlan(), "value iteration over the states of a latent model"),
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
    return agent.with_learner(_configured(spec, agent.learner, settings))


def _configured(spec: str, agent: Any, settings: dict[str, str]) -> Any:
    """The agent with these settings of its own and of its memory, if it has one."""
    if agent.memory is None:
        values = naming.arguments(spec, settings, naming.settable(type(agent)))
        return naming.made(spec, lambda: dataclasses.replace(agent, **values))
    memory = agent.memory
    if "memory" in settings:
        other = settings.pop("memory")
        kind = naming.made(spec, lambda: naming.lookup("memory", other, MEMORIES))
        has_width = all("width" in naming.settable(one) for one in (type(memory), kind))
        memory = kind(width=memory.width) if has_width else kind()
    own, of_memory = naming.settable(type(agent)), naming.settable(type(memory))
    values = naming.arguments(spec, settings, {**own, **of_memory})
    its_values = {key: value for key, value in values.items() if key in of_memory}
    own_values = {key: value for key, value in values.items() if key in own}
    return naming.made(
        spec, lambda: dataclasses.replace(agent, memory=dataclasses.replace(memory, **its_values), **own_values)
    )


def agent_settings(name: str) -> list[naming.Setting]:
    """What can be set of an agent and of its memory, as it ships. Raises: SpecError for an unknown name."""
    agent = naming.lookup("agent", name, AGENTS).agent.learner
    listed = naming.describe_settings(type(agent), vars(agent))
    if agent.memory is not None:
        listed.append(naming.Setting("memory", f"one of {', '.join(MEMORIES)}", memory_name(agent.memory)))
        listed += naming.describe_settings(type(agent.memory), vars(agent.memory))
    return listed
