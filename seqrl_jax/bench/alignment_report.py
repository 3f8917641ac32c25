"""A page of the language-model track: the table, and where methods stand against the frontier."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from seqrl_jax.bench.alignment_results import AlignmentCell
from seqrl_jax.bench.alignment_table import COLUMNS, LEGEND, alignment_problems, alignment_rows, caveats, spread
from seqrl_jax.bench.curves import printable
from seqrl_jax.bench.overoptimisation import overoptimisation_picture, read_overoptimisation


def write_alignment_report(
    cells: Sequence[AlignmentCell], directory: Path, damaged: Sequence[str] = (), command: str | None = None
) -> Path:
    """Write `report.html`, which loads nothing else, and return its path.

    Records of over-optimisation in the directory are shown too.
    """
    from jinja2 import Environment, PackageLoader

    directory.mkdir(parents=True, exist_ok=True)
    environment = Environment(
        loader=PackageLoader("seqrl_jax", "bench/templates"), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters.update(shown=printable)
    tasks = [_task([cell for cell in cells if cell.task == task]) for task in dict.fromkeys(c.task for c in cells)]
    climbs, torn = read_overoptimisation(directory)
    html = environment.get_template("alignment.html").render(
        tasks=tasks,
        legend=LEGEND,
        caveats=caveats(alignment_rows(cells)),
        problems=alignment_problems(cells),
        climbs=[
            {"picture": _inline(overoptimisation_picture(one["rows"])), "command": str(one.get("command", ""))}
            for one in climbs
        ],
        damaged=[*damaged, *torn],
        command=command,
        origin=cells[0] if cells else None,
    )
    path = directory / "report.html"
    path.write_text(html, encoding="utf-8")
    return path


def frontier_picture(cells: Sequence[AlignmentCell]) -> bytes:
    """PNG: gold reward against KL, every seed of every method of one task, below the frontier of the first seed."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    reached = [kl for cell in cells for kl in cell.kl if kl is not None]
    limit = 1.15 * max([*reached, 0.5])
    # More KL than the best completions need earns nothing more.
    line = [*cells[0].frontier, [max(limit, cells[0].frontier[-1][0]), cells[0].frontier[-1][1]]]
    axes.plot([kl for kl, _ in line], [reward for _, reward in line], color="black", label="frontier")
    for index, cell in enumerate(cells):
        known = [(kl, reward) for kl, reward in zip(cell.kl, cell.reward) if kl is not None and reward is not None]
        style: dict[str, Any] = {"color": f"C{index % 10}", "alpha": 0.7, "label": printable(cell.method)}
        axes.plot([kl for kl, _ in known], [reward for _, reward in known], MARKERS[index % len(MARKERS)], **style)
    axes.set(xlabel="KL to the reference, nats", ylabel="gold reward", xlim=(0, limit))
    axes.legend(fontsize="x-small", ncols=2)
    out = io.BytesIO()
    figure.savefig(out, format="png", dpi=110)
    return out.getvalue()


MARKERS = "osD^v<>"
"""Seven, beside ten colours: no two of seventy methods look alike."""


def _task(cells: Sequence[AlignmentCell]) -> dict[str, Any]:
    rows = [
        {"method": row["method"], "told": [spread(row[name], row["failed"]) for name in COLUMNS]}
        for row in alignment_rows(cells)
    ]
    first = cells[0]
    return {
        "name": first.task,
        "reference": f"{first.reference_reward[0]:.3f}",
        "best": f"{first.best_reward[0]:.3f}",
        "rows": rows,
        "picture": _inline(frontier_picture(cells)),
    }


def _inline(picture: bytes) -> str:
    return base64.b64encode(picture).decode()
