"""`seqrl report`: a site about directories of results, or a page about a run of `seqrl align`."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

from seqrl_jax.commands.console import note, print_json
from seqrl_jax.commands.table import print_table, read
from seqrl_jax.garbage import uncollected
from seqrl_jax.naming import SpecError
from seqrl_jax.release import refuse_within
from seqrl_jax.report.site import (
    INDEX,
    NOT_MEASURED,
    NOTHING,
    SiteError,
    is_audit,
    read_audit,
    read_overoptimised,
    sheets,
    sources,
    write_site,
)
from seqrl_jax.results.provenance import command
from seqrl_jax.text.page import is_text_run, write_text_page

FOLDER = "site"
"""Where a report stands within the directory that it is about, unless it is to stand elsewhere."""


@uncollected()
def run(options: argparse.Namespace) -> None:
    """Write the report and say where it is.

    Raises: SpecError for a run of align, or an audit, beside another, and for several directories without a place of
    their own; ReleaseError for a place in a release; SiteError for one that holds other files.
    """
    # One directory by two names is one.
    by_place: dict[Path, Path] = {}
    for path in options.directories:
        by_place.setdefault(Path(os.path.realpath(path)), path)
    directories = list(by_place.values())
    if len(directories) > 1 and options.out is None:
        raise SpecError("a report about several directories belongs to none of them: say where by --out")
    out, skipped = options.out or directories[0] / FOLDER, list[str]()
    refuse_within(out)
    if any(map(is_text_run, directories)):
        if len(directories) > 1:
            raise SpecError("a run of align has a report of its own: name its directory alone")
        if out.is_dir() and any(path.name != INDEX for path in out.iterdir()):
            raise SiteError(f"{out} holds other files than a page; give an empty or a new directory")
        path = write_text_page(directories[0], out / INDEX)
    else:
        path, skipped = write_report(directories, out)
    if options.json:
        return print_json({"report": str(path), "damaged": skipped})
    for message in skipped:
        note(f"skipped {message}")
    print(f"report: {path}")


def show_results(directory: Path, as_json: bool) -> None:
    """Print the table of a directory, and write its report, unless one of the same records is there."""
    recorded, skipped = read(directory)
    made = sheets([(name, recorded) for name in sources([directory])])
    path = write_site(made, directory / FOLDER, skipped, command(), keep_current=True)
    print_table(recorded, skipped, as_json, {"report": str(path)})
    if not as_json:
        print(f"report: {path}")


def write_report(directories: Sequence[Path], out: Path) -> tuple[Path, list[str]]:
    """Write the site of directories of results, one of which may be of an audit; a file is of over-optimisation.

    Returns: (its first page, a line for whatever was skipped).
    Raises: RecordError for what is not there; SiteError where `out` holds something else; SpecError; ValueError for a
        file that is none; OSError.
    """
    audits = [directory for directory in directories if is_audit(directory)]
    files = [path for path in directories if path.is_file()]
    for kind, paths in (("audit", audits), ("measurement of over-optimisation", files)):
        if len(paths) > 1:
            raise SpecError(f"a site shows one {kind}, not {paths[0]} and {paths[1]}")
    recorded = [directory for directory in directories if directory not in (*audits, *files)]
    if not recorded:
        raise SpecError(f"{(*audits, *files)[0]} is shown beside results: name their directory, too")
    found = [(name, *read(directory)) for name, directory in zip(sources(recorded), recorded)]
    several = len(found) > 1
    skipped = [f"{name}: {line}" if several else line for name, _, lines in found for line in lines]
    made = sheets([(name, sections) for name, sections, _ in found])
    audited = read_audit(audits[0]) if audits else NOTHING
    overoptimised = read_overoptimised(files[0]) if files else NOT_MEASURED
    return write_site(made, out, skipped, command(), audited=audited, overoptimised=overoptimised), skipped
