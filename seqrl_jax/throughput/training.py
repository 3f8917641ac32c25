"""How fast agents train: many runs of one agent as one program."""

from __future__ import annotations

from typing import Any

import jax
from jax import Array

from seqrl_jax.agents import train
from seqrl_jax.agents.base import Agent
from seqrl_jax.tasks.environment import Environment
from seqrl_jax.throughput.measure import Program, on_each, share_of


def training(agent: Agent, env: Environment, params: Any, updates: int, runs: int = 1, devices: int = 1) -> Program:
    """`runs` runs of `updates` updates each, from their initialisation on; an environment step of each run counts.

    Raises: ValueError, if the runs do not divide over the devices.
    """
    steps, here = updates * agent.steps_per_update, share_of(runs, devices)

    def some(key: Array) -> Any:
        return jax.vmap(lambda key: train(agent, env, params, key, steps))(jax.random.split(key, here))

    return Program(on_each(some, devices), runs, runs * steps, devices)
