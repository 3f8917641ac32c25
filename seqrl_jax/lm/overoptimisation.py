"""What climbing a proxy does to the gold reward: records of `benchmarks/overoptimisation.py`, and their picture."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from seqrl_jax.figures import printable
from seqrl_jax.results.store import ResultsError, read_json

KIND = "overoptimisation"


def read_overoptimisation(directory: Path) -> tuple[list[dict[str, Any]], list[str]]:
    """The records of this kind in a directory, and a message for each that is damaged.

    A record has `rows` of proxy, pairs, noise, and `optima`: [N, 3] KL, gold and proxy reward as beta falls.
    """
    records, damage = [], []
    for path in sorted(directory.glob("*.json")):
        try:
            told = read_json(path)
        except (ResultsError, OSError):
            # The reader of cells tells of it.
            continue
        if not (isinstance(told, dict) and told.get("kind") == KIND):
            continue
        try:
            _check(told)
            records.append(told)
        except ResultsError as error:
            damage.append(f"{path.name}: {error}")
    return records, damage


def _check(told: dict[str, Any]) -> None:
    rows = told.get("rows")
    if not (isinstance(rows, list) and rows and all(isinstance(row, dict) for row in rows)):
        raise ResultsError("rows: must be a list of objects")
    for place, row in enumerate(rows):
        for name, kind in (("proxy", str), ("pairs", int), ("noise", int | float)):
            if not isinstance(row.get(name), kind):
                raise ResultsError(f"rows[{place}].{name}: missing or of another kind")
        points = row.get("optima")
        if not (isinstance(points, list) and points and all(map(_is_point, points))):
            raise ResultsError(f"rows[{place}].optima: must hold KL, gold and proxy reward")


def _is_point(point: Any) -> bool:
    numbers = isinstance(point, list) and len(point) == 3 and all(isinstance(x, int | float) for x in point)
    return numbers and all(map(math.isfinite, point))


def overoptimisation_picture(rows: Sequence[dict[str, Any]]) -> bytes:
    """PNG: a column for each proxy, a row for each noise; gold solid, what the proxy says dotted, labels by colour."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    proxies, noises, pairs = (list(dict.fromkeys(row[name] for row in rows)) for name in ("proxy", "noise", "pairs"))
    figure = Figure(figsize=(max(3.4 * len(proxies), 5), 2.8 * len(noises)), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(len(noises), len(proxies), sharex=True, sharey=True, squeeze=False)
    for row in rows:
        axes = grid[noises.index(row["noise"]), proxies.index(row["proxy"])]
        points, colour = np.array(row["optima"]), f"C{pairs.index(row['pairs'])}"
        # A KL of nothing may be computed as slightly less.
        d = np.sqrt(np.maximum(points[:, 0], 0))
        axes.plot(d, points[:, 1], color=colour, label=f"{row['pairs']:,} pairs")
        axes.plot(d, points[:, 2], ":", color=colour, linewidth=1)
        axes.set_title(printable(f"{row['proxy']}, noise {row['noise']:g}"), fontsize="small")
    for axes in grid[-1]:
        axes.set_xlabel("square root of KL")
    grid[0, 0].legend(fontsize="x-small")
    grid[0, 0].set_ylabel("reward")
    out = io.BytesIO()
    figure.savefig(out, format="png", dpi=110)
    return out.getvalue()
