"""Which function of what was seen belongs to which memory."""

from __future__ import annotations

from seqrl_jax.agents.history import HistoryFunction
from seqrl_jax.agents.latent import Latent, LatentFunction
from seqrl_jax.memory import Memory
from seqrl_jax.tasks.environment import Environment


def function_of(memory: Memory | Latent, outputs: int, env: Environment, normalise: bool = False) -> HistoryFunction:
    """A function with so many outputs of what `memory` keeps in this environment.

    Raises: ValueError for a memory that is too short for the longest episode.
    """
    if memory.for_horizon(env.longest) != memory:
        raise ValueError(
            f"{memory} is too short for the longest episode, {env.longest} steps: "
            "fit the agent with `for_run(env.longest, steps)`"
        )
    if isinstance(memory, Latent):
        return LatentFunction(memory, outputs, env.observation_space, normalise, env.num_actions)
    return HistoryFunction(memory, outputs, env.observation_space, normalise)
