"""What optimising proxies did to the gold reward, beside scores: what `benchmarks/overoptimisation.py` wrote."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, NamedTuple

import msgspec

from seqrl_jax.figures import COLOURS, printable
from seqrl_jax.report.pictures import Dash
from seqrl_jax.report.site.charts import Chart, Line, chart
from seqrl_jax.report.site.drawings import room
from seqrl_jax.results.record import LARGEST
from seqrl_jax.strict_json import parsed

Number = Annotated[float, msgspec.Meta(ge=-LARGEST, le=LARGEST)]
Point = tuple[Number, Number, Number]
"""KL to the reference in nats, gold reward, proxy reward."""


class ProxyCurve(msgspec.Struct, frozen=True):
    """What became of a proxy that learned from so many pairs, a share of them with random labels; means over seeds.

    optima: of the exact optima at falling temperature. gold_peak, gold_end: the mean over seeds of each one's best gold
    reward, and of its last.
    """

    proxy: str
    pairs: int
    noise: Number
    optima: Annotated[list[Point], msgspec.Meta(min_length=1)]
    gold_peak: Number
    gold_end: Number


class Overoptimised(msgspec.Struct, frozen=True):
    """rows: one for each proxy, number of pairs and noise. command, device: of what measured them."""

    rows: Sequence[ProxyCurve] = ()
    seeds: int = 0
    command: str = ""
    device: str = ""


class Shown(NamedTuple):
    """The proxies that learned from labels of one kind."""

    title: str
    rows: Sequence[ProxyCurve]
    chart: Chart


NOT_MEASURED = Overoptimised()


def read_overoptimised(path: Path) -> Overoptimised:
    """Raises: ValueError, naming the file, for one that holds nothing of the kind; OSError."""
    try:
        return msgspec.convert(parsed(path.read_bytes()), Overoptimised)
    except ValueError as error:
        raise ValueError(f"{path}: no measurement of over-optimisation ({error})") from error


def shown(overoptimised: Overoptimised) -> list[Shown]:
    """Gold reward against KL, proxy by proxy, a chart for each number of pairs and each noise."""
    proxies = list(dict.fromkeys(row.proxy for row in overoptimised.rows))
    found = []
    for pairs, noise in sorted({(row.pairs, row.noise) for row in overoptimised.rows}, key=lambda kind: kind[::-1]):
        rows = [row for row in overoptimised.rows if (row.pairs, row.noise) == (pairs, noise)]
        lines = [_line(row, proxies.index(row.proxy)) for row in rows]
        title = f"{pairs:,} pairs{f', {noise:.0%} of their labels random' if noise else ''}"
        about = printable(f"Gold reward against KL with {title}")
        drawn = chart(lines, [], "KL to the reference, nats", "gold reward", room(lines), about)
        found.append(Shown(title, rows, drawn))
    return found


def _line(row: ProxyCurve, number: int) -> Line:
    points = sorted(row.optima)
    gold = [point[1] for point in points]
    dash: Dash = "solid" if number // len(COLOURS) % 2 == 0 else "dashed"
    return Line(row.proxy, number % len(COLOURS), dash, [point[0] for point in points], gold, gold, gold)
