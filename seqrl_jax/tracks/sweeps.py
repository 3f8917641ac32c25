"""What sweeps of settings found: how good each setting of an agent was on tasks that no table reports.

`benchmarks/sweeps.py` writes `sweeps.json` from what `benchmarks/tune.py` and `tune_lm.py` recorded; no number of it is
typed, and it ships with the package.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec

PATH = Path(__file__).with_name("sweeps.json")
RATE = "learning_rate"


@dataclass(frozen=True)
class Sweep:
    """Of an agent of these tracks. settings, scores: [K], the mean place of each setting's runs among all runs of the
    same task, from 0, the worst, to 1. chosen: the setting that the agent ships with. tasks, seeds: how many. command:
    what made it."""

    tracks: list[str]
    agent: str
    settings: list[dict[str, float]]
    scores: list[float]
    chosen: dict[str, float]
    tasks: int
    seeds: int
    command: str

    @property
    def by_rate(self) -> Mapping[str, list[tuple[float, float]]]:
        """[(learning rate, score)] along increasing rates, for each choice of all other settings, in words; the chosen
        one is the first. Nothing of a sweep over no learning rate."""
        lines: dict[str, list[tuple[float, float]]] = {self._others(self.chosen): []}
        for setting, score in zip(self.settings, self.scores, strict=True):
            if RATE in setting:
                lines.setdefault(self._others(setting), []).append((setting[RATE], score))
        return {others: sorted(line) for others, line in lines.items() if line}

    @staticmethod
    def _others(setting: Mapping[str, float]) -> str:
        return ", ".join(f"{name}={value:g}" for name, value in setting.items() if name != RATE)


@functools.cache
def sweeps() -> Mapping[tuple[str, str], Sweep]:
    """(track, agent) -> its sweep."""
    recorded = msgspec.json.decode(PATH.read_bytes(), type=list[Sweep])
    return {(track, sweep.agent): sweep for sweep in recorded for track in sweep.tracks}
