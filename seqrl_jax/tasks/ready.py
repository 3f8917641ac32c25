"""An environment with its numbers and with what is proved of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from seqrl_jax.tasks.environment import Environment
from seqrl_jax.tasks.tabular import TabularPOMDP

MEMORYLESS, HISTORY = "memoryless_stochastic", "history"
"""Names of certificates: the best policy of the observation, the best of the whole history."""


@dataclass(frozen=True)
class Certificate:
    """What is proved of the return of a best policy, without a discount: it lies between these. how: by what."""

    lower: float
    upper: float
    how: str


@dataclass(frozen=True, eq=False)
class Ready:
    """An environment with its numbers, ready to be learned in.

    certified: by name, maybe nothing. table: of one that is small enough, makes the same as a table, which is solved.
    """

    env: Environment
    params: Any
    certified: Mapping[str, Certificate] = field(default_factory=dict)
    table: Callable[[], TabularPOMDP] | None = None


def exactly(value: float, how: str) -> Certificate:
    """A value that is known."""
    return Certificate(value, value, f"exact: {how}")
