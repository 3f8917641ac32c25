"""What a site is made of: the records of one directory and track, and the number by which each record is found."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from seqrl_jax.report.overall import Overall, overall
from seqrl_jax.report.pictures import Style, styles
from seqrl_jax.report.sections import Section
from seqrl_jax.report.table import Row, errors, rows
from seqrl_jax.results.parameters import parameters
from seqrl_jax.results.provenance import as_text
from seqrl_jax.results.record import Record


@dataclass(frozen=True)
class Sheet:
    """A section of one directory. source: the directory, by a name that no other has. first: the number of its first
    record among all of the site."""

    source: str
    section: Section
    first: int

    @property
    def title(self) -> str:
        """Of its page: the directory and the track, once where they are called alike."""
        return ": ".join(dict.fromkeys([self.source, self.section.track.name]))

    @cached_property
    def rows(self) -> list[Row]:
        """Its table."""
        return rows(self.section)

    @cached_property
    def overall(self) -> list[Overall]:
        """Its aggregates over tasks."""
        return overall(self.section)

    @cached_property
    def errors(self) -> list[str]:
        """What makes its table wrong."""
        return errors(self.section)

    @cached_property
    def wrong(self) -> frozenset[str]:
        """Its methods that are wrong on purpose."""
        return frozenset(record.method for record in self.section.records if record.marked_wrong)

    @cached_property
    def styles(self) -> dict[str, Style]:
        """How its methods are drawn."""
        return styles(self.section.records)

    @cached_property
    def numbers(self) -> dict[tuple[str, str], int]:
        """(task, method) -> the number of that record."""
        return {(r.task, r.method): self.first + index for index, r in enumerate(self.section.records)}

    @cached_property
    def parameters(self) -> dict[tuple[str, str], int]:
        """(task, method) -> how many parameters are trained there, of those cells of which it is known."""
        counts = {(r.task, r.method): parameters(r) for r in self.section.records}
        return {cell: count for cell, count in counts.items() if count is not None}

    @cached_property
    def rows_of_task(self) -> dict[str, list[Row]]:
        """Task -> what is proved about it, then its methods."""
        found: dict[str, list[Row]] = {}
        for row in self.rows:
            found.setdefault(row.task, []).append(row)
        return found

    @cached_property
    def rows_of_method(self) -> dict[str, list[Row]]:
        """Method -> its rows, in the order of the tasks."""
        found: dict[str, list[Row]] = {}
        for row in self.rows:
            if row.kind == "agent":
                found.setdefault(row.method, []).append(row)
        return found


def sheets(recorded: Sequence[tuple[str, Sequence[Section]]]) -> list[Sheet]:
    """The sheets of (source, sections) of every directory, their records numbered through."""
    made: list[Sheet] = []
    for source, found in recorded:
        for section in found:
            first = made[-1].first + len(made[-1].section.records) if made else 0
            made.append(Sheet(source, section, first))
    return made


def records(made: Sequence[Sheet]) -> list[Record]:
    """Every record, at the place of its number."""
    return [record for sheet in made for record in sheet.section.records]


def sources(directories: Sequence[Path]) -> list[str]:
    """A name for each directory: the last parts of its path, as few as tell them all apart."""
    parts = [Path(as_text(os.path.realpath(path))).parts for path in directories]
    for length in range(1, max(map(len, parts), default=0) + 1):
        names = ["/".join(each[-length:]) for each in parts]
        if len(set(names)) == len(names):
            break
    return names if directories else []
