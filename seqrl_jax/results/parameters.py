"""How many parameters the networks of a method have on a task: a metric of a record, the same for all its seeds.

Records of before the metric lack it. For those of the suites that are recorded, `benchmarks/parameters.py` counts them
anew, and `parameters.json` ships with the package.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from pathlib import Path

from seqrl_jax.results.record import PerSeed, Record

PARAMETERS = "parameters"
"""The metric."""
PATH = Path(__file__).with_name("parameters.json")
Counts = Mapping[str, Mapping[str, Mapping[str, int]]]
"""Track -> method -> task -> how many."""


def metric(count: int, scores: PerSeed) -> dict[str, PerSeed]:
    """What a record with these scores [N] says of a count: None for failed seeds, nothing where no network is
    trained."""
    return {PARAMETERS: [None if score is None else float(count) for score in scores]} if count else {}


def parameters(record: Record) -> int | None:
    """Of one network of a record's cell, all of its parts; None where none is trained, or where that is not known."""
    said = record.finished(PARAMETERS)
    count = round(said[0]) if said else counted().get(record.track, {}).get(record.method, {}).get(record.task, 0)
    return count if count > 0 else None


@functools.cache
def counted() -> Counts:
    """Of the cells of suites that are recorded without the metric."""
    counts: Counts = json.loads(PATH.read_text(encoding="utf-8"))
    return counts
