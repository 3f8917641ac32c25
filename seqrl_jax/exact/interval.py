"""A certified value: the exact value of a kept policy below, a proven bound above."""

from __future__ import annotations

from dataclasses import dataclass

EXACT_SHARE = 1e-6
"""Of the unit: how far apart the ends of an exact value may be."""


@dataclass(frozen=True)
class Interval:
    """A task's value lies in [lower, upper].

    lower: the exact value of an explicit policy. upper: a proven bound. method: how each end was proved, in words.
    unit: what tolerances are shares of, the largest return of the task.
    """

    lower: float
    upper: float
    method: str
    unit: float = 1.0

    @property
    def gap(self) -> float:
        return self.upper - self.lower

    @property
    def is_exact(self) -> bool:
        """Whether the ends agree to 1e-6 of the unit."""
        return self.gap <= EXACT_SHARE * self.unit
