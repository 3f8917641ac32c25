"""How numbers and names are written, the same in a terminal, on a page, in README and docs."""

from __future__ import annotations

from collections.abc import Sequence

from seqrl_jax.figures import NONE as NONE
from seqrl_jax.figures import printable
from seqrl_jax.results.statistics import Estimate

DAGGER = "†"
WRONG = f"{DAGGER}: wrong on purpose, the theory says that it falls short"


def two(value: float | None) -> str:
    """Two decimals, or an exponent where those would not fit a column."""
    if value is None:
        return NONE
    return f"{value:.1e}" if abs(value) >= 1e4 else f"{round(value, 2) + 0.0:.2f}"


def figures(value: float | None) -> str:
    """Four significant figures."""
    return NONE if value is None else f"{round(value, 9) + 0.0:.4g}"


def duration(seconds: float) -> str:
    """Seconds, or minutes from two of them on."""
    return f"{seconds:.1f} s" if seconds < 120 else f"{seconds / 60:.1f} min"


def ends(estimate: Estimate | None) -> str:
    """`[low, high]`, a dash where there is no interval."""
    if estimate is None or estimate.low is None or estimate.high is None:
        return NONE
    return f"[{two(estimate.low)}, {two(estimate.high)}]"


def with_interval(estimate: Estimate | None) -> str:
    """`mean [low, high]`, and `mean –` where there is no interval."""
    return NONE if estimate is None else f"{two(estimate.value)} {ends(estimate)}"


def with_reach(estimate: Estimate | None) -> str:
    """The same in less room: `mean±` the distance to the further end of the interval."""
    if estimate is None:
        return NONE
    if estimate.low is None or estimate.high is None:
        return f"{two(estimate.value)}±{NONE}"
    return f"{two(estimate.value)}±{two(max(estimate.high - estimate.value, estimate.value - estimate.low))}"


def with_failures(text: str, failed: int, seeds: int) -> str:
    """An entry that leaves failed seeds out, and says so."""
    if seeds and failed == seeds:
        return "failed"
    return f"{text} !{failed}" if failed else text


def name(method: str, marked_wrong: bool) -> str:
    """A method's name, marked if it is wrong on purpose, with nothing in it that could steer a terminal."""
    return printable(method) + (DAGGER if marked_wrong else "")


def bound(name: str) -> str:
    """The name of a proved value, in words."""
    return printable(name).replace("_", " ")


def with_unit(label: str, unit: str) -> str:
    """`label, unit`, or one of them where they say the same."""
    return printable(f"{label}, {unit}" if unit and unit != label else label)


def number_range(counts: Sequence[int]) -> str:
    """`5`, or `5–10` where they differ."""
    low, high = min(counts, default=0), max(counts, default=0)
    return str(low) if low == high else f"{low}{NONE}{high}"


def listed(names: Sequence[str]) -> str:
    """`a, b and c`."""
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]])) if names else ""


def counted(number: int, what: str) -> str:
    """`1 seed`, `2 seeds`."""
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"
