"""What an agent reads: the observation alone, or with a memory the history, which is o_0, a_0, o_1, ... o_t."""

from __future__ import annotations

from typing import Annotated

from seqrl_jax.agents.base import Agent, Reads
from seqrl_jax.agents.hyperparameters import hyperparameters
from seqrl_jax.agents.network import HistoryNetwork, network_for
from seqrl_jax.naming import require
from seqrl_jax.networks import GRU, Memory
from seqrl_jax.parts import Choice, Imported
from seqrl_jax.settings import Count, PositiveFloat
from seqrl_jax.tasks.environment import Environment

MemoryField = Annotated[Memory, Choice(Imported("seqrl_jax.networks.registry", "MEMORIES"))]


@hyperparameters
class ReadingAgent(Agent):
    """An agent that reads through a memory, and learns from rollouts.

    Attributes:
        learning_rate: of Adam.
        memory: the backbone.
        previous_action: whether it reads a_{t-1} beside o_t; None: where it keeps the whole history. A history without
            the agent's own actions is another thing, on which a value is an average over what they were.
        previous_reward: whether it reads r_{t-1} as well.
        num_envs, rollout_length: B and T of the rollouts that it learns from.
    """

    learning_rate: PositiveFloat = 0.01
    memory: MemoryField = GRU(32)
    previous_action: bool | None = None
    previous_reward: bool = False
    num_envs: Count = 16
    rollout_length: Count = 32

    @property
    def steps_per_update(self) -> int:
        return self.num_envs * self.rollout_length

    @property
    def marked_wrong(self) -> bool:
        """An agent that bootstraps is wrong on anything but the history."""
        return not self.reads_history

    def require_readable(self) -> None:
        """For `__post_init__`. Raises: SpecError: with its actions, an agent without memory keeps notes in them."""
        if self.memory.reach is not None:
            why = "an agent that does not keep the whole history reads observations alone"
            require(not self.previous_action, why, previous_action=self.previous_action)
            require(not self.previous_reward, why, previous_reward=self.previous_reward)

    @property
    def memoryless(self) -> bool:
        return self.memory.reach == 1

    @property
    def reads(self) -> Reads:
        return Reads(self.memory.reach, self.reads_actions, self.previous_reward)

    @property
    def reads_actions(self) -> bool:
        """Whether a_{t-1} stands beside o_t."""
        return self.memory.reach is None if self.previous_action is None else self.previous_action

    @property
    def reads_history(self) -> bool:
        """Whether what it reads is the history, on which a value is that of the belief."""
        return self.memory.reach is None and self.reads_actions

    def network(self, env: Environment, outputs: int, normalise: bool = False) -> HistoryNetwork:
        """A function of what it reads in this environment."""
        return network_for(env, self.memory, outputs, self.reads_actions, self.previous_reward, normalise)
