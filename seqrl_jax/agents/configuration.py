"""What an agent is made of: its settings as they are recorded, and the modules that they come from."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

from seqrl_jax.agents.base import Agent
from seqrl_jax.memory import memory_name


def configuration(agent: Agent) -> dict[str, Any]:
    """The hyperparameters by name, as they are recorded with a result: functions by their names, and those of the
    memory beside the agent's own."""
    values: dict[str, Any] = {}
    for field in dataclasses.fields(agent):  # type: ignore[arg-type]
        value = getattr(agent, field.name)
        if field.name == "inner":
            values |= {**configuration(value), "acts_on": type(agent).__name__}
        elif field.name == "memory":
            values |= {"memory": memory_name(value), **dataclasses.asdict(value)}
        else:
            values[field.name] = value.__name__ if callable(value) else value
    return values


def modules(agent: Agent) -> list[str]:
    """The modules of an agent's class, of those of its parts, and of the functions among its settings."""
    return sorted(set(_modules(agent)))


def _modules(part: Any) -> Iterator[str]:
    yield type(part).__module__
    for field in dataclasses.fields(part):
        value = getattr(part, field.name)
        if dataclasses.is_dataclass(value):
            yield from _modules(value)
        elif callable(value):
            yield value.__module__
