"""Records as flat tables, with a dictionary of their columns."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from seqrl_jax.report.sections import Section, newest
from seqrl_jax.results.record import Record

Kind = Literal["text", "integer", "number", "boolean"]
Line = tuple[object, ...]
"""An entry for each column; None where there is none."""


@dataclass(frozen=True)
class Column:
    """A column of a table, with what it means."""

    name: str
    kind: Kind
    about: str


@dataclass(frozen=True)
class Table:
    """A flat table: one line for each of what `about` says."""

    name: str
    about: str
    columns: tuple[Column, ...]
    lines: Callable[[Sequence[Section]], Iterator[Line]]


CELL = (
    Column("track", "text", "the kind of table"),
    Column("suite", "text", "the table that the cell was run for, own for none"),
    Column("task", "text", "the task, with its settings"),
    Column("method", "text", "the method, with its settings"),
)
MARKED = Column("marked_wrong", "boolean", "whether theory says that the method falls short here")


def _cells(sections: Sequence[Section]) -> Iterator[Line]:
    for record in _records(sections):
        yield (
            *_cell(record),
            record.marked_wrong,
            record.policy,
            len(record.seeds),
            record.failed,
            record.steps_asked,
            record.steps_made,
            record.spent.compilation,
            record.spent.training,
            record.spent.evaluation,
            record.cells,
            record.device,
            record.commit,
            record.command,
            record.created,
            record.task_fingerprint,
            record.code_fingerprint,
            _json(record.versions),
            _json(record.config),
            _json(record.warnings),
            _json(record.failures),
        )


def _scores(sections: Sequence[Section]) -> Iterator[Line]:
    for record in _records(sections):
        for metric, values in record.metrics.items():
            errors = record.standard_errors.get(metric, [None] * len(values))
            for seed, value, error, episodes in zip(record.seeds, values, errors, record.episodes, strict=True):
                yield (*_cell(record), record.marked_wrong, seed, metric, value, error or None, episodes)


def _curves(sections: Sequence[Section]) -> Iterator[Line]:
    for record in _records(sections):
        for name, curve in record.curves.items():
            for at, values in zip(curve.at, curve.values, strict=True):
                for seed, value in zip(record.seeds, values, strict=True):
                    yield (*_cell(record), name, curve.x, at, seed, value)


def _bounds(sections: Sequence[Section]) -> Iterator[Line]:
    """One line of each bound of a task: what was proved last, since a solver run again differs by rounding."""
    for section in sections:
        about = section.track.bounds
        alike: dict[tuple[str, str], list[Record]] = {}
        for record in section.records:
            alike.setdefault((record.task, record.task_fingerprint), []).append(record)
        for task, records in alike.items():
            for name, bound in newest(records).bounds.items():
                ends = bound.lower, bound.upper, bound.is_exact, bound.method
                yield (section.track.name, *task, name, about.get(name), *ends)


def _metrics(sections: Sequence[Section]) -> Iterator[Line]:
    for section in sections:
        known = {column.metric: (column.label, column.unit, column.better) for column in section.track.columns}
        names = dict.fromkeys(name for record in section.records for name in record.metrics)
        score = section.track.columns[0].metric
        for name in names:
            yield (section.track.name, name, *known.get(name, (None, None, None)), name == score)


TABLES = (
    Table(
        "cells",
        "a method on a task, with all its seeds",
        (
            *CELL,
            MARKED,
            Column("policy", "text", "how the judged policy acts: greedy or sampled"),
            Column("seeds", "integer", "how many runs"),
            Column("failed", "integer", "how many of them have no score"),
            Column("steps_asked", "integer", "of training, that each run was to make"),
            Column("steps_made", "integer", "of training, that each run made"),
            Column("compilation_seconds", "number", "wall time of the program that the cell was part of"),
            Column("training_seconds", "number", "wall time of the program that the cell was part of"),
            Column("evaluation_seconds", "number", "wall time of the program that the cell was part of"),
            Column("sharing", "integer", "how many cells shared that program"),
            Column("device", "text", "on which it ran"),
            Column("commit", "text", "of git, with + if the code was changed since; empty where it is not known"),
            Column("command", "text", "that made it; empty where it is not known"),
            Column("created", "text", "ISO 8601"),
            Column("task_fingerprint", "text", "of the task's data"),
            Column("code_fingerprint", "text", "of the code that the method imports; empty where it is not known"),
            Column("versions", "text", "of packages: JSON, an object"),
            Column("config", "text", "every setting: JSON, an object"),
            Column("warnings", "text", "what a reader should know: JSON, a list of sentences"),
            Column("failures", "text", "why seeds have no score: JSON, an object by seed"),
        ),
        _cells,
    ),
    Table(
        "scores",
        "a number of a seed",
        (
            *CELL,
            MARKED,
            Column("seed", "integer", "of the run"),
            Column("metric", "text", "what the value is of, see the table metrics"),
            Column("value", "number", "empty where the run failed"),
            Column("standard_error", "number", "of a value that was sampled; empty where it is exact or not known"),
            Column("episodes", "integer", "sampled for the score; empty where it is exact"),
        ),
        _scores,
    ),
    Table(
        "curves",
        "a number of a seed along its training, or along something else",
        (
            *CELL,
            Column("curve", "text", "what the value is of"),
            Column("x", "text", "what the place is, with its unit"),
            Column("at", "number", "the place"),
            Column("seed", "integer", "of the run"),
            Column("value", "number", "empty where there is none"),
        ),
        _curves,
    ),
    Table(
        "bounds",
        "a proved value of a task, in units of its score",
        (
            Column("track", "text", "the kind of table"),
            Column("task", "text", "the task, with its settings"),
            Column("task_fingerprint", "text", "of the task's data"),
            Column("bound", "text", "the name of the value"),
            Column("about", "text", "what it is the value of"),
            Column("lower", "number", "the value is at least that: an explicit policy reaches it"),
            Column("upper", "number", "the value is at most that"),
            Column("exact", "boolean", "whether the two agree to 1e-6, relative where the value exceeds 1"),
            Column("method", "text", "how each end was proved"),
        ),
        _bounds,
    ),
    Table(
        "metrics",
        "a metric of a track",
        (
            Column("track", "text", "the kind of table"),
            Column("metric", "text", "its name in the other tables"),
            Column("label", "text", "as tables show it; empty where they do not"),
            Column("unit", "text", "of its values"),
            Column("better", "text", "higher or lower; empty where neither is"),
            Column("score", "boolean", "whether it is the track's score, which the bounds are of"),
        ),
        _metrics,
    ),
)


def as_csv(table: Table, sections: Sequence[Section]) -> bytes:
    """The table with a header; true and false for booleans, nothing for what is not there."""
    return _csv([column.name for column in table.columns], map(_plain, table.lines(sections)))


def dictionary() -> bytes:
    """CSV: every column of every table with its type and its meaning."""
    lines = [
        (table.name, table.about, column.name, column.kind, column.about)
        for table in TABLES
        for column in table.columns
    ]
    return _csv(["table", "line", "column", "type", "meaning"], lines)


def _plain(line: Line) -> list[object]:
    return [str(entry).lower() if isinstance(entry, bool) else entry for entry in line]


def _csv(header: Sequence[str], lines: Iterable[Iterable[object]]) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(lines)
    return text.getvalue().encode()


def _records(sections: Sequence[Section]) -> Iterator[Record]:
    for section in sections:
        yield from section.records


def _cell(record: Record) -> Line:
    return record.track, record.suite, record.task, record.method


def _json(value: Mapping[str, Any] | Sequence[str]) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False)
