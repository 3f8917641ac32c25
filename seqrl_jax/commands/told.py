"""What the commands of results tell."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from rich.console import Console

from seqrl_jax.bench.alignment_report import write_alignment_report
from seqrl_jax.bench.alignment_results import holds_alignment, read_alignment
from seqrl_jax.bench.alignment_table import alignment_problems, alignment_rows, console_alignment, in_registry_order
from seqrl_jax.report.page import console_table, write_report
from seqrl_jax.results.store import read_cells
from seqrl_jax.tracks.suites import in_order
from seqrl_jax.report.table import aggregate_rows, problems, table_rows
from seqrl_jax.commands.console import note, print_json


def table(options: argparse.Namespace) -> None:
    """Print the table of a directory."""
    tell(options.directory, options.json, report=False)


def report(options: argparse.Namespace) -> None:
    """Write the report of a directory."""
    tell(options.directory, options.json, table=False)


def tell(directory: Path, as_json: bool, table: bool = True, report: bool = True) -> None:
    """Print the table of a directory, write its report, or both."""
    if holds_alignment(directory):
        return _tell_alignment(directory, as_json, table, report)
    cells, damaged = read_cells(directory)
    cells = in_order(cells)
    path = write_report(cells, directory, damaged, command=" ".join(["seqrl", *sys.argv[1:]])) if report else None
    if as_json:
        told: dict[str, Any] = {"report": str(path)} if path else {}
        if table:
            told |= {"rows": table_rows(cells), "aggregate": aggregate_rows(cells), "errors": problems(cells)}
        return print_json({**told, "damaged": damaged})
    for message in damaged:
        note(f"skipped {message}")
    if table:
        console = Console()
        console.print(console_table(cells, console.width))
    if path:
        print(f"report: {path}")


def _tell_alignment(directory: Path, as_json: bool, table: bool, report: bool) -> None:
    """The same for results of the language-model track."""
    cells, damaged = read_alignment(directory)
    cells = in_registry_order(cells)
    command = " ".join(["seqrl", *sys.argv[1:]])
    path = write_alignment_report(cells, directory, damaged, command) if report else None
    if as_json:
        told: dict[str, Any] = {"report": str(path)} if path else {}
        if table:
            told |= {"rows": alignment_rows(cells), "errors": alignment_problems(cells)}
        return print_json({**told, "damaged": damaged})
    for message in damaged:
        note(f"skipped {message}")
    if table:
        Console().print(console_alignment(cells))
    if path:
        print(f"report: {path}")
