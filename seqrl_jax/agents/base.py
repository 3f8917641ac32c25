"""What an agent is: hyperparameters and three pure functions."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, Self

import jax
from jax import Array

from seqrl_jax.memory import memory_name
from seqrl_jax.tasks.environment import Environment


class Policy(NamedTuple):
    """How a trained agent acts in one environment.

    initialise: () -> carry, at the start of an episode. act: (key, carry, obs) -> (carry, action).
    """

    initialise: Callable[[], Any]
    act: Callable[[Array, Any, Array], tuple[Any, Array]]


class Agent(Protocol):
    """A frozen dataclass, registered as a pytree: floats are traced hyperparameters, all else is static.

    `init` and `update` are pure, so that a run is `scan(update)` and many runs are its `vmap` over keys, task params
    and hyperparameters. `update` collects `steps_per_update` environment steps and learns from them; its metrics are
    reduced over those steps.
    """

    @property
    def steps_per_update(self) -> int: ...

    def for_run(self, horizon: int, steps: int) -> Self:
        """The agent fitted to a run: what must hold a whole episode is long enough, schedules span `steps` steps."""
        ...

    @property
    def memoryless(self) -> bool:
        """Whether the policy is a function of the current observation alone."""
        ...

    @property
    def marked_wrong(self) -> bool:
        """Whether the theory says that the agent fails where o is not Markov: it is there to show by how much."""
        ...

    def init(self, key: Array, env: Environment, params: Any) -> Any: ...

    def update(self, env: Environment, params: Any, state: Any) -> tuple[Any, dict[str, Array]]: ...

    def policy(self, env: Environment, params: Any, state: Any) -> Policy: ...


class MemorylessAgent(Agent, Protocol):
    """An agent that may be memoryless: its policy over a discrete observation is then a table, its value computed."""

    def probabilities(self, env: Environment, params: Any, state: Any) -> Array:
        """[O, A]: pi(a given o), of an agent that is `memoryless`."""
        ...


class ValueAgent(Agent, Protocol):
    """An agent that says what its policy is worth, rightly or not."""

    def claim(self, env: Environment, params: Any, state: Any, key: Array) -> Array:
        """The value that the agent assigns to the start of an episode, a mean over first observations drawn by `key`.

        In units of return, a scalar. What the policy earns is another matter.
        """
        ...


def train(agent: Agent, env: Environment, params: Any, key: Array, num_updates: int) -> tuple[Any, dict[str, Array]]:
    """One whole run, for `jit` and `vmap`: the final state and the metrics [num_updates]."""
    step = lambda state, _: agent.update(env, params, state)
    return jax.lax.scan(step, agent.init(key, env, params), length=num_updates)


def configuration(agent: Agent) -> dict[str, Any]:
    """The hyperparameters by name, as they are recorded with a result: functions by their names, and those of the
    memory beside the agent's own."""
    values: dict[str, Any] = {}
    for field in dataclasses.fields(agent):  # type: ignore[arg-type]
        value = getattr(agent, field.name)
        if field.name == "control":
            values |= {**configuration(value), "acts_on": type(agent).__name__}
        elif field.name == "memory":
            values |= {"memory": memory_name(value), **dataclasses.asdict(value)}
        else:
            values[field.name] = value.__name__ if callable(value) else value
    return values
