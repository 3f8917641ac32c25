"""How it is learned: agents as frozen hyperparameters and pure functions."""

from seqrl_jax.agents.actor_critic import ActorCritic
from seqrl_jax.agents.base import Agent, MemorylessAgent, Policy, train
from seqrl_jax.agents.belief import OnBelief
from seqrl_jax.agents.configuration import configuration
from seqrl_jax.agents.impala import IMPALA
from seqrl_jax.agents.latent_plan import LatentPlan
from seqrl_jax.agents.model_based import NaiveModel
from seqrl_jax.agents.policy_gradient import PolicyGradient
from seqrl_jax.agents.ppo import PPO
from seqrl_jax.agents.pqn import PQN
from seqrl_jax.agents.q_learning import QLearning
from seqrl_jax.agents.registry import AGENTS, make_agent

__all__ = [
    "AGENTS",
    "IMPALA",
    "PPO",
    "PQN",
    "ActorCritic",
    "Agent",
    "LatentPlan",
    "MemorylessAgent",
    "NaiveModel",
    "OnBelief",
    "Policy",
    "PolicyGradient",
    "QLearning",
    "configuration",
    "make_agent",
    "train",
]
