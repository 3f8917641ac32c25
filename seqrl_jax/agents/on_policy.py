"""What agents share that learn from each rollout in a few passes: rollouts that go on, one network, no replay."""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple, Self

import jax
import jax.numpy as jnp
from jax import Array

from seqrl_jax.agents.annealed import AnnealedAgent
from seqrl_jax.agents.base import MemorylessAgent, horizon_class
from seqrl_jax.agents.hyperparameters import hyperparameters
from seqrl_jax.agents.learning import TrainState, train_state
from seqrl_jax.agents.network import HistoryNetwork, init_weights
from seqrl_jax.agents.rollout import Magnitude, Position, begin, no_magnitude
from seqrl_jax.naming import check, require
from seqrl_jax.settings import Count, PositiveFloat
from seqrl_jax.tasks.environment import Environment


class OnPolicyState(NamedTuple):
    """What is learned, magnitudes, where the environments stand, updates so far, the memory's diagnostics, the key."""

    train: TrainState
    magnitude: Magnitude
    position: Position
    updates: Array
    diagnostics: Any
    key: Array


@hyperparameters
class OnPolicy(AnnealedAgent, MemorylessAgent):
    """An agent of which `network_in`, `initial_carry` and the rule itself are left to say. Its episodes go on across
    rollouts.

    Attributes:
        epochs, minibatches: passes over a rollout, and parts of each.
        bootstrap_truncated: whether the value after the horizon counts (see `bootstrap_discount`).
        The others: see `AnnealedAgent`.
    """

    max_gradient_norm: PositiveFloat = 0.5
    epochs: Count = 4
    minibatches: Count = 4
    bootstrap_truncated: bool = False

    def __post_init__(self) -> None:
        check(self)
        self.require_readable()
        parts = {"num_envs": self.num_envs, "minibatches": self.minibatches}
        require(self.num_envs % self.minibatches == 0, "the environments do not divide into equal parts", **parts)

    def network_in(self, env: Environment) -> HistoryNetwork:
        """What is learned."""
        raise NotImplementedError

    def initial_carry(self, batch: int) -> Any:
        """Of B environments that are about to begin: the memory's, and what acting needs besides."""
        return self.memory.initial_carry(batch)

    def for_run(self, horizon: int, steps: int) -> Self:
        return dataclasses.replace(self, memory=self.memory.for_horizon(horizon_class(horizon))).with_run_of(steps)

    @property
    def gradient_steps(self) -> int:
        return self.epochs * self.minibatches

    def init(self, key: Array, env: Environment, params: Any) -> OnPolicyState:
        key, weights_key, begin_key = jax.random.split(key, 3)
        return OnPolicyState(
            train=train_state(self.optimiser, init_weights(self.network_in(env), weights_key)),
            magnitude=no_magnitude(),
            position=begin(begin_key, env, params, self.num_envs, self.initial_carry(self.num_envs)),
            updates=jnp.int32(0),
            diagnostics=self.memory.initial_diagnostics(),
            key=key,
        )
