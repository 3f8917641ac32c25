"""What an agent is made of: its settings as they are recorded, and the modules that they come from."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

from seqrl_jax.agents.base import Agent
from seqrl_jax.parts import values_of


def configuration(agent: Agent) -> dict[str, Any]:
    """The hyperparameters by name, as they are recorded with a result: those of its parts beside the agent's own, and
    functions by their names."""
    learner = agent.learner
    functions = {field.name: getattr(learner, field.name) for field in dataclasses.fields(learner)}  # type: ignore[arg-type]
    named = {name: value.__name__ for name, value in functions.items() if callable(value) and not _is_part(value)}
    acts_on = {} if learner is agent else {"acts_on": type(agent).__name__}
    return {**values_of(learner), **named, **acts_on}


def modules(agent: Agent) -> list[str]:
    """The modules of an agent's class, of those of its parts, and of the functions among its settings."""
    return sorted(set(_modules(agent)))


def _modules(part: Any) -> Iterator[str]:
    yield type(part).__module__
    for field in dataclasses.fields(part):
        value = getattr(part, field.name)
        if _is_part(value):
            yield from _modules(value)
        elif callable(value):
            yield value.__module__


def _is_part(value: Any) -> bool:
    return dataclasses.is_dataclass(value) and not isinstance(value, type)
