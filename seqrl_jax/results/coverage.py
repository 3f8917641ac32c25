"""What the 95% intervals cover, in words. `benchmarks/coverage.py` measures the numbers; they ship with the package."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any

MEASURED = "coverage.json"


@functools.cache
def coverage() -> str:
    """How often intervals hold the truth, in percent of simulated cases, with 5 seeds, with 10, and at their worst."""
    measured = json.loads(files(__package__).joinpath(MEASURED).read_text(encoding="utf-8"))
    cells, tables, (rare,) = measured["cells"], measured["tables"], measured["rare"]
    shares = {seeds: (_shares(cells, seeds), _shares(tables, seeds)) for seeds in ("5", "10")}
    return (
        "Intervals are 95% bootstrap intervals over seeds. On simulated scores that of a cell holds the truth in "
        f"{shares['5'][0]}% of cases with 5 seeds and in {shares['10'][0]}% with 10, that of an aggregate over "
        f"{tables[0]['tasks']} tasks in {shares['5'][1]}% and {shares['10'][1]}%. None knows of failures that did not "
        f"occur: where one seed in ten fails, that of 10 seeds holds the truth in {_shares([rare], '10')}%."
    )


def _shares(rows: Sequence[Mapping[str, Any]], seeds: str) -> str:
    """The least and the largest coverage of some rows, in percent."""
    percent = [round(100 * row["coverage"][seeds]) for row in rows]
    return " to ".join(map(str, dict.fromkeys([min(percent), max(percent)])))
