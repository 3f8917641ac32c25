"""The table row by row: a task and a method, or a proved value, in each; columns and order as they are asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from seqrl_jax import naming
from seqrl_jax.figures import printable
from seqrl_jax.report import words
from seqrl_jax.report.grid import Grid, Line
from seqrl_jax.report.sections import Section
from seqrl_jax.report.table import for_machines, rows
from seqrl_jax.results.statistics import Estimate

Fields = Mapping[str, Any]
"""Column -> value of a row: those of `table.for_machines`, and each metric by its name."""
SHOWN = ("task", "agent", "score", "seeds")
"""Where no columns are asked for, with the scales before the seeds."""
FAILED = "failed"
"""A column of every track of which less is better."""


def chosen(sections: Sequence[Section], columns: Sequence[str] = (), sort: Sequence[str] = ()) -> list[Fields]:
    """The rows, with some columns in this order, sorted by others.

    Numbers are sorted best first, texts by name; rows that lack a value come last, and rows that are alike stay in the
    order of the table.

    Args: columns: all that a reader needs, unless they are named. Raises: SpecError with the nearest names.
    """
    table = [_fields(for_machines(row)) for section in sections for row in rows(section)]
    if not table:
        return []
    known = dict.fromkeys(name for fields in table for name in fields)
    for name in (*columns, *sort):
        naming.lookup("column", name, known)
    rising = {column.metric for section in sections for column in section.track.columns if column.better == "lower"}
    rising.add(FAILED)
    for name in reversed(sort):
        present = [fields for fields in table if _key(fields.get(name)) is not None]
        absent = [fields for fields in table if _key(fields.get(name)) is None]
        texts = any(isinstance(_key(fields[name]), str) for fields in present)
        present.sort(key=lambda fields: _key(fields[name]), reverse=not texts and name not in rising)
        table = present + absent
    scales = dict.fromkeys(scale.name for section in sections for scale in section.track.scales)
    shown = columns or (*SHOWN[:-1], *(name for name in scales if name in known), SHOWN[-1])
    return [{name: fields.get(name) for name in shown} for fields in table]


def chosen_grid(table: Sequence[Fields]) -> Grid:
    """What a terminal or a page shows of chosen rows; the first column is the label."""
    corner, *columns = list(table[0]) if table else [""]
    lines = [Line(_text(fields[corner]), [_text(fields[name]) for name in columns]) for fields in table]
    return Grid(words.counted(len(table), "row"), columns, lines, corner)


def _fields(row: Mapping[str, Any]) -> Fields:
    return {**row["metrics"], **{name: value for name, value in row.items() if name != "metrics"}}


def _key(value: Any) -> Any:
    """What a value is sorted by: the mean of an estimate, the length of a list."""
    if isinstance(value, Mapping):
        return value["mean"]
    if isinstance(value, list):
        return len(value)
    return value


def _text(value: Any) -> str:
    if isinstance(value, Mapping):
        return words.with_interval(Estimate(value["mean"], value["low"], value["high"]))
    if isinstance(value, list):
        return "; ".join(map(printable, value))
    if isinstance(value, bool):
        return str(value).lower()
    return words.NONE if value is None else printable(str(value))
