"""`seqrl release`: results that are checked, packed and named, never to change."""

from __future__ import annotations

import argparse
from dataclasses import asdict

from seqrl_jax.commands.console import note, one_line, print_json
from seqrl_jax.commands.table import read
from seqrl_jax.garbage import uncollected
from seqrl_jax.release import AUTHORS, ReleaseError, Tuned, release
from seqrl_jax.report.check import findings
from seqrl_jax.report.words import counted
from seqrl_jax.tracks.suites import SUITES
from seqrl_jax.tracks.sweeps import sweeps
from seqrl_jax.tracks.tuning import SEEDS


@uncollected()
def run(options: argparse.Namespace) -> None:
    """Write the release. Raises: ReleaseError for results in which `check` finds an error; as `release.release`."""
    sections, skipped = read(options.directory)
    found = findings(sections, skipped, SUITES, SEEDS)
    for finding in found:
        if finding.kind == "error":
            raise ReleaseError(f"{options.directory} is not released: {one_line(finding.text)}")
        note(finding.text)
    made = release(sections, options.out, options.author or AUTHORS, Tuned(sweeps().keys(), SEEDS))
    if options.json:
        return print_json({"directory": str(options.out), **asdict(made)})
    print(f"{options.out}: {counted(made.records, 'record')}, sha256:{made.name}")
