"""A certified value: the exact value of a kept policy below, a proven bound above."""

from __future__ import annotations

from dataclasses import dataclass

EXACT_GAP = 1e-6


@dataclass(frozen=True)
class Interval:
    """A task's value lies in [lower, upper].

    lower: the exact value of an explicit policy. upper: a proven bound. method: how each end was proved, in words.
    """

    lower: float
    upper: float
    method: str

    @property
    def gap(self) -> float:
        return self.upper - self.lower

    @property
    def is_exact(self) -> bool:
        """Whether the ends agree to 1e-6."""
        return self.gap <= EXACT_GAP
