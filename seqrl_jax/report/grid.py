"""Rows and columns of text in as many tables side by side as a terminal has room for."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from seqrl_jax.figures import printable

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table
    from rich.text import Text

HEADER_WIDTH = 18
GAP = 2


@dataclass(frozen=True)
class Line:
    """A row: its label, an entry for each column, and how they are written (a style of rich). best: the columns
    in which no other row comes close."""

    label: str
    entries: Sequence[str]
    style: str = ""
    best: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Grid:
    """A table that is cut between its columns where it is too wide; the labels are repeated. corner: their header."""

    title: str
    columns: Sequence[str]
    lines: Sequence[Line]
    corner: str = ""


def rendered(grid: Grid, width: int) -> list[RenderableType]:
    """The title and the tables of a grid, none wider than `width`."""
    from rich.cells import cell_len
    from rich.text import Text

    headers = [_header(column) for column in grid.columns]
    first = max(map(cell_len, [grid.corner, *(line.label for line in grid.lines)]))
    widths = [
        max(map(cell_len, [*header.split("\n"), *(line.entries[index] for line in grid.lines)])) + GAP
        for index, header in enumerate(headers)
    ]
    # A label that is longer than a third of the terminal is folded where its columns need the room.
    label = min(first, max(8, width // 3))
    blocks = fold(widths, width - (first if first < width // 2 else label) - GAP)
    title: list[RenderableType] = [Text(f"\n{grid.title}", style="bold")]
    return title + [_table(grid, headers, block, label) for block in blocks]


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


def _table(grid: Grid, headers: Sequence[str], block: Sequence[int], first: int) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, padding=(0, GAP, 0, 0), header_style="bold", pad_edge=False)
    table.add_column(Text(grid.corner), overflow="fold", min_width=first)
    for index in block:
        table.add_column(Text(headers[index]), justify="right", vertical="bottom", overflow="fold", no_wrap=False)
    for line in grid.lines:
        entries = [_entry(line.entries[index]) for index in block]
        table.add_row(Text(line.label), *entries, style=line.style)
    return table


def _entry(text: str) -> Text:
    """Text, not a string: rich would read square brackets as markup."""
    from rich.text import Text

    return Text(text, style="red" if text == "failed" or "!" in text else "")


def _header(name: str) -> str:
    """A name broken after its `:` and `,`, and where it is still long, so that its column stays narrow."""
    pieces = printable(name).replace(":", ":\n").replace(",", ",\n").split("\n")
    return "\n".join(line for piece in pieces for line in textwrap.wrap(piece, HEADER_WIDTH) or [""])
