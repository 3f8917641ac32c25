"""The agents by name. A new agent is one file and one line here."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from seqrl_jax import naming
from seqrl_jax.agents.base import MemorylessAgent
from seqrl_jax.agents.policy_gradient import (
    PolicyGradient,
    generalised_advantage,
    minus_baseline,
    reward_to_go,
    total_return,
)
from seqrl_jax.agents.ppo import PPO


@dataclass(frozen=True)
class Entry:
    """An agent with its shipped hyperparameters, one set for all tasks (`benchmarks/sweep.py` found them).

    marked_wrong: the theory says that it fails when o is not Markov, and it is in the table to show by how much.
    """

    agent: MemorylessAgent
    about: str
    marked_wrong: bool = False
    track: str = "pomdp"


AGENTS: dict[str, Entry] = {
    "reinforce": Entry(PolicyGradient(weight=total_return), "policy gradient with the total return"),
    "reward_to_go": Entry(PolicyGradient(weight=reward_to_go), "policy gradient with the reward to go"),
    "pg_obs_baseline": Entry(
        PolicyGradient(weight=minus_baseline), "reward to go minus b(o), fitted to Monte-Carlo returns"
    ),
    "a2c_obs": Entry(
        PolicyGradient(weight=generalised_advantage, lambda_=0.0),
        "actor-critic with r + gamma V(o') - V(o)",
        marked_wrong=True,
    ),
    "gae": Entry(
        PolicyGradient(weight=generalised_advantage, lambda_=0.9),
        "the dial between: GAE(lambda) with V(o), valid at lambda = 1 only",
        marked_wrong=True,
    ),
    "ppo": Entry(PPO(), "clipped surrogate with GAE(lambda) on V(o)", marked_wrong=True),
}


def make_agent(spec: str) -> MemorylessAgent:
    """The agent that `spec` names: `NAME` or `NAME:key=value,...` over its hyperparameters.

    Raises: SpecError for an unknown name, key or value, with the nearest names.
    """
    name, settings = naming.parse(spec)
    agent = naming.lookup("agent", name, AGENTS).agent
    return dataclasses.replace(agent, **naming.arguments(spec, settings, naming.settable(type(agent))))
