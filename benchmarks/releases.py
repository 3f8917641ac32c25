"""The names by which the recorded tables are cited: each as `seqrl release` packs it.

    python benchmarks/releases.py --out benchmarks/results/releases.json

A release is made of its records alone: whoever has them makes it again, byte by byte. It is not kept beside them, where
they would stand twice. `readme.py --check` finds a table whose records are others than those that were packed.
"""

from __future__ import annotations

import argparse
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

from recorded import RESULTS, section_of

from seqrl_jax.release import Tuned, packed, release, sha256
from seqrl_jax.report.check import findings
from seqrl_jax.results.provenance import write_measurement
from seqrl_jax.tracks.suites import SUITES
from seqrl_jax.tracks.sweeps import sweeps
from seqrl_jax.tracks.tuning import SEEDS


def tables() -> list[str]:
    """The directories of recorded results that hold a table of cells."""
    return sorted(path.name for path in RESULTS.iterdir() if any(path.glob("*--*.json")))


def named(table: str) -> dict[str, Any]:
    """What a release of a table is. Exits if `check` finds an error in it."""
    section = section_of(table)
    for finding in findings([section], [], SUITES, SEEDS):
        if finding.kind == "error":
            raise SystemExit(f"{table}: {finding.text}")
    with tempfile.TemporaryDirectory() as directory:
        made = release([section], Path(directory) / table, tuned=Tuned(sweeps().keys(), SEEDS))
    return {
        "table": table,
        "name": made.name,
        "cells": made.records,
        "created": made.created,
        "records_sha256": sha256(packed(section.records)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    rows = []
    for table in tables():
        rows.append(named(table))
        print(f"{table}: {rows[-1]['cells']} cells, sha256:{rows[-1]['name']}", flush=True)
    write_measurement(options.out, {"pyarrow": version("pyarrow"), "rows": rows})


if __name__ == "__main__":
    main()
