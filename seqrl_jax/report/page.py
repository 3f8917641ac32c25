"""Results told to people: tables for a terminal, and a page with pictures that needs nothing beside it."""

from __future__ import annotations

import base64
import io
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seqrl_jax.figures import printable
from seqrl_jax.report.pictures import DAGGER, all_pictures, styles, task_picture
from seqrl_jax.results.store import CERTIFIED, EXACT_GAP, Cell
from seqrl_jax.report.table import Row, aggregate_rows, by_task, newest, problems, table_rows

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table
    from rich.text import Text

    from seqrl_jax.results.store import Certificate

CERTIFIED_LABELS = dict(zip(CERTIFIED, ("random", "memoryless det.", "memoryless stoch.", "history", "state")))
SHORT_LABELS = dict(zip(CERTIFIED, ("random", "det.", "stoch.", "history", "state")))
CERTIFIED_MEANING = dict(
    zip(
        CERTIFIED,
        (
            "the uniform policy",
            "the best map from observation to action",
            "the best distribution of actions given the observation",
            "the best policy of the whole history",
            "the best policy that sees the state",
        ),
    )
)
NONE = "–"
LEGEND = "0 is the uniform policy, 1 the best policy of the whole history; mean over seeds, 95% bootstrap intervals"
FAILURES = "!n: n seeds failed and are left out of the mean"
INEXACT = "~: lower end of an interval that is not exact"
WRONG = f"{DAGGER}: wrong on purpose, the theory says that it falls short"
HEADER_WIDTH = 18
BAR_LIMITS = (-0.5, 1.5)


def console_table(cells: Sequence[Cell], width: int) -> RenderableType:
    """The console tables: normalised scores in blocks that fit `width` columns, certified values, errors in red."""
    from rich.console import Group
    from rich.text import Text

    if not cells:
        return Text("no results yet")
    tasks = len(by_task(cells))
    parts: list[RenderableType] = [Text(f"Normalised score on {tasks} tasks", style="bold")]
    parts += _score_blocks(cells, width)
    notes = [LEGEND, FAILURES, INEXACT]
    if any(cell.marked_wrong for cell in cells):
        notes.insert(1, WRONG)
    parts += [Text(note, style="dim") for note in notes]
    parts += [Text("\nCertified values, in units of return", style="bold"), _certified_table(cells)]
    warnings = [f"{cell.agent} on {cell.task}, {text}" for cell in cells for text in cell.warnings]
    parts += [Text(f"warning: {printable(message)}", style="yellow") for message in warnings]
    parts += [Text(f"error: {printable(message)}", style="bold red") for message in problems(cells)]
    return Group(*parts)


def render(cells: Sequence[Cell], width: int | None = None) -> str:
    """`console_table` as plain text, `width` columns wide (by default as wide as the terminal)."""
    from rich.console import Console

    console = Console(file=io.StringIO(), width=width, color_system=None, force_terminal=False)
    with console.capture() as captured:
        console.print(console_table(cells, console.width))
    return captured.get()


def write_report(
    cells: Sequence[Cell],
    directory: str | os.PathLike[str],
    damaged: Sequence[str] = (),
    command: str | None = None,
) -> Path:
    """Write `report.html`, which loads nothing else, and `curves.png` beside it.

    Args:
        damaged: messages of `read_cells` about files that were skipped.
        command: the command line to show as the origin of the page.
    Returns: the path of `report.html`. The directory is made if it is missing.
    """
    from jinja2 import Environment, PackageLoader

    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    environment = Environment(
        loader=PackageLoader("seqrl_jax", "report/templates"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(two=_two, figures=_figures, seconds=_seconds, shown=printable)
    html = environment.get_template("report.html").render(
        **_page(cells), damaged=damaged, command=command, none=NONE, dagger=DAGGER
    )
    (directory / "curves.png").write_bytes(all_pictures(cells))
    path = directory / "report.html"
    path.write_text(html, encoding="utf-8")
    return path


def _two(value: float | None) -> str:
    """Two decimals, or an exponent where those would not fit a column."""
    if value is None:
        return NONE
    return f"{value:.1e}" if abs(value) >= 1e4 else f"{round(value, 2) + 0.0:.2f}"


def _figures(value: float | None) -> str:
    return NONE if value is None else f"{round(value, 9) + 0.0:.4g}"


def _seconds(value: float) -> str:
    return f"{value:.1f} s" if value < 120 else f"{value / 60:.1f} min"


def _inexact(value: Certificate) -> bool:
    return value["upper"] - value["lower"] > EXACT_GAP


def _label(row: Row) -> str:
    if row["kind"] == "certified":
        return CERTIFIED_LABELS[row["agent"]]
    return printable(row["agent"]) + (DAGGER if row["marked_wrong"] else "")


def _score_text(row: Row | None) -> str:
    """One entry of the score table; None where the agent did not run on the task."""
    if row is None:
        return ""
    if row["kind"] == "certified":
        return _two(row["normalised"]["mean"]) + ("~" if _inexact_row(row) else "")
    if row["failed"] == row["seeds"]:
        return "failed"
    return _two(row["normalised"]["mean"]) + (f" !{row['failed']}" if row["failed"] else "")


def _inexact_row(row: Row) -> bool:
    return row["score"]["high"] - row["score"]["low"] > EXACT_GAP


def _overall_text(row: Row, tasks: int) -> str:
    if row["iqm"] is None:
        return NONE
    low, high = _two(row["low"]), _two(row["high"])
    text = _two(row["iqm"])
    if row["kind"] == "agent" or low != high:
        text += f" [{low}, {high}]"
    return text if row["tasks"] == tasks else f"{text} ({row['tasks']}/{tasks})"


def _score_blocks(cells: Sequence[Cell], width: int) -> list[Table]:
    """Tasks as columns, as many in each table as fit, the interquartile mean as the last column of the last one."""
    from rich.cells import cell_len
    from rich.table import Table
    from rich.text import Text

    overall = aggregate_rows(cells)
    names = list(by_task(cells))
    found = {(row["task"], row["kind"], row["agent"]): row for row in table_rows(cells)}
    labels = [_label(row) for row in overall]
    columns = [
        (_header(name), [_score_text(found.get((name, row["kind"], row["agent"]))) for row in overall])
        for name in names
    ]
    scored = max(row["tasks"] for row in overall)
    columns.append(("IQM [95%]", [_overall_text(row, scored) for row in overall]))

    first = max(map(cell_len, labels))
    widths = [max(map(cell_len, [*header.split("\n"), *entries])) for header, entries in columns]
    tables = []
    for block in fold([w + 2 for w in widths], width - first - 2):
        table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold", pad_edge=False)
        table.add_column(Text(""), overflow="fold", min_width=min(first, max(8, width // 3)))
        for index in block:
            table.add_column(
                Text(columns[index][0]), justify="right", vertical="bottom", overflow="fold", no_wrap=False
            )
        for number, row in enumerate(overall):
            style = "cyan" if row["kind"] == "certified" else "yellow" if row["marked_wrong"] else ""
            entries = [_plain_text(columns[index][1][number]) for index in block]
            last_certified = number == len(CERTIFIED) - 1
            table.add_row(Text(labels[number]), *entries, style=style, end_section=last_certified)
        tables.append(table)
    return tables


def _plain_text(entry: str) -> Text:
    """Text, not a string: rich would read square brackets as markup."""
    from rich.text import Text

    return Text(entry, style="red" if entry == "failed" or "!" in entry else "")


def _header(task: str) -> str:
    """A spec broken after its `:` and `,` and into pieces, so that its column stays narrow."""
    pieces = printable(task).replace(":", ":\n").replace(",", ",\n").split("\n")
    return "\n".join(
        piece[start : start + HEADER_WIDTH] for piece in pieces for start in range(0, max(len(piece), 1), HEADER_WIDTH)
    )


def fold(widths: Sequence[int], available: int) -> list[list[int]]:
    """Consecutive columns in blocks whose widths sum to at most `available`; a block has at least one column."""
    blocks: list[list[int]] = []
    used = 0
    for index, width in enumerate(widths):
        if not blocks or used + width > available:
            blocks.append([])
            used = 0
        blocks[-1].append(index)
        used += width
    return blocks


def _certified_table(cells: Sequence[Cell]) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold", pad_edge=False)
    table.add_column(Text("task"), overflow="fold")
    for name in CERTIFIED:
        table.add_column(Text(SHORT_LABELS[name]), justify="right", overflow="fold")
    table.add_column(Text("seeds"), justify="right")
    for task, group in by_task(cells).items():
        certified = newest(group).certified
        entries = [_figures(certified[n]["lower"]) + ("~" if _inexact(certified[n]) else "") for n in CERTIFIED]
        table.add_row(*map(Text, [printable(task), *entries, _range([len(cell.seeds) for cell in group])]))
    return table


def _range(counts: Sequence[int]) -> str:
    low, high = min(counts), max(counts)
    return str(low) if low == high else f"{low}{NONE}{high}"


def _page(cells: Sequence[Cell]) -> dict[str, Any]:
    """What the template shows. Text is escaped there, numbers are formatted by its filters."""
    agent_styles = styles(cells)
    overall = aggregate_rows(cells)
    tasks = by_task(cells)
    rows: dict[str, list[Row]] = {}
    for row in table_rows(cells):
        shown = {**row, "label": _label(row), "inexact": row["kind"] == "certified" and _inexact_row(row)}
        rows.setdefault(row["task"], []).append(shown)
    order = {row["agent"]: index for index, row in enumerate(overall)}
    scored = max((row["tasks"] for row in overall), default=0)
    found = {(row["task"], row["kind"], row["agent"]): row for group in rows.values() for row in group}
    return {
        "suites": sorted({cell.suite for cell in cells}),
        "task_names": list(tasks),
        "agents": len(agent_styles),
        "seeds": _range([len(cell.seeds) for cell in cells]) if cells else "0",
        "errors": problems(cells),
        "styles": agent_styles,
        "scored": scored,
        "overall": [{**row, "label": _label(row), "bar": _bar(row)} for row in overall],
        "marks": {"zero": _position(0.0), "one": _position(1.0)},
        "matrix": [
            {
                "label": _label(row),
                "kind": row["kind"],
                "entries": [_matrix_entry(found.get((task, row["kind"], row["agent"]))) for task in tasks],
            }
            for row in overall
        ],
        "tasks": [
            {
                "name": task,
                "rows": sorted(rows[task], key=lambda row: order[row["agent"]]),
                "certified": newest(group).certified,
                "evaluations": sorted({cell.evaluation for cell in group}),
                "fingerprint": newest(group).fingerprint,
                "picture": base64.b64encode(task_picture(group, agent_styles)).decode(),
            }
            for task, group in tasks.items()
        ],
        "meanings": CERTIFIED_MEANING,
        "certified_labels": CERTIFIED_LABELS,
        "legend": LEGEND,
        "provenance": _provenance(cells),
    }


def _matrix_entry(row: Row | None) -> dict[str, Any]:
    value = row["normalised"]["mean"] if row else None
    shade = 0.0 if value is None else max(-1.0, min(value, 1.0))
    return {"text": _score_text(row), "good": max(shade, 0.0), "bad": max(-shade, 0.0)}


def _position(value: float) -> float:
    """Where a normalised score lies on the bar, in percent; what is outside sticks to the edge."""
    low, high = BAR_LIMITS
    return 100 * (max(low, min(value, high)) - low) / (high - low)


def _bar(row: Row) -> dict[str, float] | None:
    if row["iqm"] is None:
        return None
    low, high = _position(row["low"]), _position(row["high"])
    return {"low": low, "length": high - low, "middle": _position(row["iqm"])}


def _provenance(cells: Sequence[Cell]) -> dict[str, Any]:
    """Where the numbers come from. A compiled program is shared by `row` cells, each of which carries its times."""
    agents: dict[str, list[Cell]] = {}
    for cell in cells:
        agents.setdefault(cell.agent, []).append(cell)
    return {
        "agents": [
            {
                "agent": agent,
                "cells": len(group),
                "compile": sum(cell.compile_seconds / cell.row for cell in group),
                "run": sum(cell.run_seconds / cell.row for cell in group),
                "configs": sorted({json.dumps(cell.config, indent=2, sort_keys=True) for cell in group}),
            }
            for agent, group in sorted(agents.items())
        ],
        "compile": sum(cell.compile_seconds / cell.row for cell in cells),
        "run": sum(cell.run_seconds / cell.row for cell in cells),
        "devices": sorted({cell.device for cell in cells}),
        "commits": sorted({cell.commit or "unknown" for cell in cells}),
        "versions": sorted({f"{name} {version}" for cell in cells for name, version in cell.versions.items()}),
        "created": sorted(cell.created for cell in cells),
    }
