"""`seqrl check`: whether results can be trusted as they stand."""

from __future__ import annotations

import argparse
from dataclasses import asdict

from seqrl_jax.commands.console import one_line, print_json
from seqrl_jax.commands.table import in_sections
from seqrl_jax.garbage import uncollected
from seqrl_jax.release import changes
from seqrl_jax.report.check import findings
from seqrl_jax.report.words import counted
from seqrl_jax.results.store import read_as_it_is
from seqrl_jax.tracks.suites import SUITES
from seqrl_jax.tracks.tuning import SEEDS

WRONG = 1


@uncollected()
def run(options: argparse.Namespace) -> int:
    """Print what was found, errors first. Returns: 1 where there are errors, else 0."""
    sections, skipped = in_sections(*read_as_it_is(options.directory))
    found = findings(sections, [*changes(options.directory), *skipped], SUITES, SEEDS)
    errors = sum(finding.kind == "error" for finding in found)
    records = sum(len(section.records) for section in sections)
    if options.json:
        print_json({"records": records, "errors": errors, "findings": [asdict(finding) for finding in found]})
    else:
        for finding in found:
            print(f"{finding.kind}: {finding.check}: {one_line(finding.text)}")
        print(f"{counted(records, 'record')}, {counted(errors, 'error')}, {counted(len(found) - errors, 'warning')}")
    return WRONG if errors else 0
