"""How wide an interval is, beside what there is to win."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from seqrl_jax.exact.interval import Interval


@dataclass(frozen=True)
class Gap:
    """gap: in units of return. relative_gap: of |history|. normalised_gap: of what history earns beyond random, the
    unit of scores. Both by the least that these may be, and None where that may be nothing."""

    gap: float
    relative_gap: float | None
    normalised_gap: float | None


def gaps(values: Mapping[str, Interval]) -> dict[str, Gap]:
    """Of each of a task's values, by name; `history` and `random` are among them."""
    history, uniform = values["history"], values["random"]
    size = max(history.lower, -history.upper)
    won = history.lower - uniform.upper
    return {name: Gap(value.gap, _share(value.gap, size), _share(value.gap, won)) for name, value in values.items()}


def _share(gap: float, whole: float) -> float | None:
    return gap / whole if whole > 0 else None
