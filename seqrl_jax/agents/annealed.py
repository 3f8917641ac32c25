"""What agents share whose learning rate falls over a run, and which end with the last update of it."""

from __future__ import annotations

import dataclasses
from abc import abstractmethod
from typing import Annotated, Any, Self

import optax
from jax import Array

from seqrl_jax.agents.base import updates_in
from seqrl_jax.agents.hyperparameters import hyperparameters
from seqrl_jax.agents.learning import annealed_adam, share_of_run
from seqrl_jax.agents.reading import ReadingAgent
from seqrl_jax.naming import Fitted
from seqrl_jax.settings import PositiveFloat


@hyperparameters
class AnnealedAgent(ReadingAgent):
    """An agent whose Adam falls to a tenth of its rate over a run.

    Attributes:
        run_steps: environment steps of a run.
        max_gradient_norm: the global norm above which gradients are scaled down.
        The others: see `ReadingAgent`.
    """

    run_steps: Annotated[float, Fitted()] = 300_000.0
    max_gradient_norm: PositiveFloat = 1.0

    @property
    @abstractmethod
    def gradient_steps(self) -> int:
        """Of an update."""

    @property
    def optimiser(self) -> optax.GradientTransformation:
        """Of all gradient steps of a run."""
        steps = self.run_steps / self.steps_per_update * self.gradient_steps
        return annealed_adam(self.learning_rate, self.max_gradient_norm, steps)

    def progress(self, updates: Array) -> Array:
        """How much of the run is over after so many updates."""
        return share_of_run(updates, self.steps_per_update, self.run_steps)

    def with_run_of(self, steps: int) -> Self:
        """The agent whose schedules end with the last update of a run of so many environment steps."""
        return dataclasses.replace(self, run_steps=float(updates_in(self, steps) * self.steps_per_update))

    def alarms(self, state: Any) -> dict[str, Array]:
        return self.memory.alarms(state.diagnostics)
