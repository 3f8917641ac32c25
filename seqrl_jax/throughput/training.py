"""How fast agents train: many runs of one agent as one program."""

from __future__ import annotations

from typing import Any

import jax
from jax import Array

from seqrl_jax.agents import train
from seqrl_jax.agents.base import Agent
from seqrl_jax.tasks.environment import Environment
from seqrl_jax.throughput.env import Program


def training(agent: Agent, env: Environment, params: Any, updates: int, runs: int = 1) -> Program:
    """`runs` runs of `updates` updates each, from their initialisation on; an environment step of each run counts."""
    steps = updates * agent.steps_per_update

    def one(key: Array) -> Any:
        return train(agent, env, params, key, steps)

    @jax.jit
    def run(key: Array) -> Any:
        return jax.vmap(one)(jax.random.split(key, runs))

    return Program(run, runs, runs * steps)
