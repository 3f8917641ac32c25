"""What solving may take, and what it has taken."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

WORK = 1e10
"""In products of numbers: some seconds."""
MEMORY = 4 * 2**30
"""In bytes."""
LEAST = 1e-9
"""Seconds that are given where none are left."""

Watch = Callable[[float, float], None]
"""Is shown both ends of a value while they close."""


def unseen(lower: float, upper: float) -> None:
    """Shows nobody."""


@dataclass(frozen=True)
class SearchBudget:
    """What the search for a task's history value may take.

    work: in products of numbers, so that what is found does not depend on the machine. seconds: where given, they
    count instead of `work`, here and, once more, in the search for memoryless values, and what is found depends on the
    machine. memory: in bytes.
    """

    work: float = WORK
    seconds: float | None = None
    memory: int = MEMORY

    def covers(self, other: SearchBudget) -> bool:
        """Whether who had this one need not try again with the other one."""
        enough = self.work >= other.work if other.seconds is None else (self.seconds or 0) >= other.seconds
        return enough and self.memory >= other.memory

    def joined(self, other: SearchBudget) -> SearchBudget:
        """The larger of both in every part."""
        seconds = max(self.seconds or 0, other.seconds or 0) or None
        return SearchBudget(max(self.work, other.work), seconds, max(self.memory, other.memory))

    @property
    def spent(self) -> SearchBudget:
        """What it stands for once it is used: where seconds count, no work was promised."""
        return self if self.seconds is None else SearchBudget(0.0, self.seconds, self.memory)


DEFAULT = SearchBudget()


class OverBudget(Exception):
    """A bound was left unfinished: it would take more than the budget leaves."""


class Meter:
    """What of a budget is spent: `work` is what its users count, seconds are those since it was made."""

    def __init__(self, budget: SearchBudget, clock: Callable[[], float] = time.monotonic) -> None:
        self.budget = budget
        self.work = 0.0
        self._clock = clock
        self._began = clock()

    def spent(self) -> float:
        """The share of the budget that is spent; above 1 when it is used up."""
        if self.budget.seconds is None:
            return self.work / self.budget.work
        return (self._clock() - self._began) / self.budget.seconds

    def late(self, share: float = 1.0) -> bool:
        """Whether such a share of the seconds that were given is over. Work is not looked at: what does not count it is
        bounded by its own size."""
        return self.budget.seconds is not None and self.spent() > share

    def stop_if_late(self) -> None:
        """Raises: OverBudget, when the seconds that were given are over."""
        if self.late():
            raise OverBudget

    def part(self, work: float, share: float = 1.0) -> Meter:
        """A meter of a part, beginning now: so much work, or such a share of the seconds that are left."""
        seconds = self.budget.seconds
        if seconds is not None:
            seconds = max(LEAST, share * seconds * (1 - self.spent()))
        return Meter(SearchBudget(work, seconds, self.budget.memory), self._clock)
