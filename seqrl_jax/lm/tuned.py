"""The hyperparameters that methods ship with: one set for all tasks, chosen by a program and written by it.

`benchmarks/tune_lm.py` writes `tuned.json`; no number of it is typed. Its tasks and seeds are in no table. A method
that is not in the file has the settings of the registry.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

Settings = TypeVar("Settings")
PATH = Path(__file__).with_name("tuned.json")


@cache
def choices() -> Mapping[str, Mapping[str, float]]:
    """Method -> setting -> value. A setting of a part is written `part.setting`."""
    chosen: dict[str, dict[str, float]] = json.loads(PATH.read_text(encoding="utf-8"))
    return chosen


def tuned(name: str, method: Settings) -> Settings:
    """The method with the settings that were chosen for it, or as it is where none were."""
    return with_settings(method, choices().get(name, {}))


def with_settings(settings: Settings, values: Mapping[str, Any]) -> Settings:
    """A dataclass with these values of its fields, and of fields of its parts, `part.setting`; floats may be traced."""
    for path, value in values.items():
        settings = _replaced(settings, path.split("."), value)
    return settings


def _replaced(settings: Any, path: list[str], value: Any) -> Any:
    first, *rest = path
    return dataclasses.replace(settings, **{first: _replaced(getattr(settings, first), rest, value) if rest else value})
