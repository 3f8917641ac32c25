"""`seqrl table`, and what the commands of results share."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from seqrl_jax import naming
from seqrl_jax.commands.console import note, print_json
from seqrl_jax.garbage import uncollected
from seqrl_jax.report import overall, table
from seqrl_jax.report.chosen import chosen, chosen_grid
from seqrl_jax.report.console import console_tables, improvement_grid, profile_grid
from seqrl_jax.report.formats import written, written_rows
from seqrl_jax.report.grid import Grid, rendered
from seqrl_jax.report.sections import Section, mixtures, sections, warnings
from seqrl_jax.results import store
from seqrl_jax.results.record import Record
from seqrl_jax.tracks.registry import TRACKS


@uncollected()
def run(options: argparse.Namespace) -> None:
    """Print the table of a directory; or what is asked for instead: rows of some columns, profiles, probabilities of
    improvement."""
    if options.format in ("text", "json"):
        # Other names for what is printed unless a form is asked for, and for --json.
        as_json = options.json or options.format == "json"
        options = argparse.Namespace(**vars(options) | {"json": as_json, "format": None})
    if options.columns or options.sort:
        return _show_rows(options)
    if options.format:
        if options.json or options.profile or options.improvement:
            raise naming.SpecError("--format writes the table alone: leave --json, --profile and --improvement out")
        recorded, skipped = read(options.directory)
        for message in skipped:
            note(f"skipped {message}")
        return print(written(recorded, options.format), end="")
    if not (options.profile or options.improvement):
        return print_table(*read(options.directory), options.json)
    recorded, skipped = read(options.directory)
    improvements: list[overall.Improvement] = []
    if options.improvement:
        require_methods(options.improvement, recorded)
        improvements = [row for section in recorded if (row := overall.improvement(section, *options.improvement))]
    if options.json:
        output: dict[str, Any] = for_machines(recorded)
        if options.profile:
            output["profiles"] = [row for section in recorded for row in overall.profiles_for_machines(section)]
        if options.improvement:
            output["improvement"] = [overall.improvement_for_machines(row) for row in improvements]
        return print_json(output | {"damaged": skipped})
    show([*(map(profile_grid, recorded) if options.profile else ()), *map(improvement_grid, improvements)], skipped)


def _show_rows(options: argparse.Namespace) -> None:
    """Print the table row by row, in the columns and the order that are asked for."""
    if options.profile or options.improvement or (options.json and options.format):
        raise naming.SpecError("--columns and --sort print one table: leave the other outputs out")
    recorded, skipped = read(options.directory)
    table = chosen(recorded, options.columns or (), options.sort or ())
    if options.json:
        return print_json({"rows": table, "damaged": skipped})
    if not options.format:
        return show([chosen_grid(table)], skipped)
    for message in skipped:
        note(f"skipped {message}")
    print(written_rows(table, options.format), end="")


def print_table(
    recorded: Sequence[Section], skipped: Sequence[str], as_json: bool, beside: Mapping[str, Any] | None = None
) -> None:
    """Print the table of sections. beside: what JSON says, too."""
    if as_json:
        return print_json({**(beside or {}), **for_machines(recorded), "damaged": skipped})
    for message in skipped:
        note(f"skipped {message}")
    console = Console()
    console.print(console_tables(recorded, console.width))


def read(directory: Path) -> tuple[list[Section], list[str]]:
    """The sections of a directory, and a line for whatever in it was skipped.

    Raises: RecordError if there is none; ReleaseError for a release that is not what was released.
    """
    return in_sections(*store.read(directory))


def in_sections(records: Sequence[Record], damaged: Sequence[str]) -> tuple[list[Section], list[str]]:
    """The same of what the store holds."""
    recorded, foreign = sections(records, TRACKS)
    return recorded, [*damaged, *foreign]


def for_machines(recorded: Sequence[Section]) -> dict[str, Any]:
    """{"rows", "aggregate", "errors", "warnings"} of every track."""
    return {
        "rows": [table.for_machines(row) for section in recorded for row in table.rows(section)],
        "aggregate": [overall.for_machines(row) for section in recorded for row in overall.overall(section)],
        "errors": [line for section in recorded for line in table.errors(section)],
        "warnings": [line for section in recorded for line in [*mixtures(section), *warnings(section)]],
    }


def show(grids: Sequence[Grid], skipped: Sequence[str]) -> None:
    """Print grids as wide as the terminal, or that there is nothing to show."""
    for message in skipped:
        note(f"skipped {message}")
    console = Console()
    shown = [grid for grid in grids if grid.lines]
    for part in (part for grid in shown for part in rendered(grid, console.width)):
        console.print(part)
    if not shown:
        print("no results that can be compared")


def require_methods(methods: Sequence[str], recorded: Sequence[Section]) -> None:
    """Refuse methods that no record is of. Raises: SpecError with the nearest names."""
    names = {method: section for section in recorded for method in section.methods}
    for method in methods:
        naming.lookup("agent", method, names)
