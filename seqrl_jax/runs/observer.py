"""Whoever watches a run: what the runner tells, without knowing to whom."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from seqrl_jax.results.record import Record


@dataclass(frozen=True)
class RowProgress:
    """How the running row stands. done, chunks: of its current loop. begun_at: the chunk at which this process took
    over. steps: of training, all runs together. steps_per_second: of this process, None before its first chunk.
    score: the mean of the runs, None where it is not known. runs: how many there are. recompiled: the programs that
    this process compiled after its first chunk, which should be none: everything is compiled in that."""

    done: int
    chunks: int
    begun_at: int
    steps: int
    steps_per_second: float | None
    score: float | None
    runs: int = 1
    recompiled: int = 0


class Observer(Protocol):
    """Watches a run as it goes."""

    def starts(self, cells: int, standing: int) -> None:
        """Of `cells` cells that were asked for, `standing` are there already."""
        ...

    def row(self, method: str, tasks: Sequence[str], cells: int) -> None:
        """A method begins on tasks, of which `cells` cells are missing."""
        ...

    def chunk(self, progress: RowProgress) -> None:
        """The row has come this far; first called before its first chunk."""
        ...

    def cell(self, record: Record) -> None:
        """A cell has been written."""
        ...

    def note(self, message: str) -> None:
        """Something that a reader should know, a sentence."""
        ...


class Unwatched:
    """Nobody watches."""

    def starts(self, cells: int, standing: int) -> None:
        pass

    def row(self, method: str, tasks: Sequence[str], cells: int) -> None:
        pass

    def chunk(self, progress: RowProgress) -> None:
        pass

    def cell(self, record: Record) -> None:
        pass

    def note(self, message: str) -> None:
        pass
