"""The hyperparameters that agents ship with: one set for all tasks, chosen by a program and written by it.

`benchmarks/tune.py` writes `tuned.json`; no number of it is typed. Its tasks and seeds are in no table. An agent that
is not in the file has the settings of its class.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TypeVar

from seqrl_jax.agents.base import Agent
from seqrl_jax.parts import configured

AnyAgent = TypeVar("AnyAgent", bound=Agent)
PATH = Path(__file__).with_name("tuned.json")


@cache
def choices() -> Mapping[str, Mapping[str, str]]:
    """Agent -> setting -> value as it is typed."""
    chosen: dict[str, dict[str, str]] = json.loads(PATH.read_text(encoding="utf-8"))
    return chosen


def tuned(name: str, agent: AnyAgent) -> AnyAgent:
    """The agent with the settings that were chosen for it, or as it is where none were."""
    return configured(name, agent, choices().get(name, {}))
