"""What is recorded, as the tables of pages read it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from seqrl_jax.report.sections import Section, sections
from seqrl_jax.results import store
from seqrl_jax.results.provenance import read_measurement, write_measurement
from seqrl_jax.tracks.registry import TRACKS

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"


def section_of(name: str) -> Section:
    """The one section of a directory of recorded results. Exits if anything in it is damaged."""
    records, damaged = store.read(RESULTS / name)
    every, unknown = sections(records, TRACKS)
    if damaged or unknown:
        sys.exit("\n".join([*damaged, *unknown]))
    (section,) = every
    return section


def measurement(name: str) -> dict[str, Any]:
    """What a benchmark wrote."""
    return read_measurement(RESULTS / name)


def recorded_rows(path: Path | None, **budget: int) -> list[dict[str, Any]]:
    """The rows that a benchmark wrote earlier with the same budget."""
    if path is None or not path.exists():
        return []
    measured = read_measurement(path)
    return measured["rows"] if {key: measured[key] for key in budget} == budget else []


def record_memories(
    names: Iterable[str], path: Path | None, measured: Callable[..., dict[str, Any]], **budget: int
) -> Iterator[dict[str, Any]]:
    """The row `measured(name, **budget)` of each memory that the file does not hold yet, and does behind it."""
    rows = recorded_rows(path, **budget)
    for name in names:
        if any(row["memory"] == name for row in rows):
            continue
        rows.append(measured(name, **budget))
        yield rows[-1]
        if path:
            write_measurement(path, {"rows": rows, **budget})


def where(section: Section) -> str:
    """On what its records were made."""
    made = (f"on {record.device}, jax {record.versions['jax']}" for record in section.records)
    return " and ".join(dict.fromkeys(made))
