"""What a terminal shows while a command works."""

from __future__ import annotations

import contextlib
import statistics
import time
from collections.abc import Callable, Iterator, Sequence

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, TextColumn, TimeElapsedColumn

from seqrl_jax.commands.console import note
from seqrl_jax.results.record import Record
from seqrl_jax.runs.observer import RowProgress
from seqrl_jax.tracks.base import Column

ShowProgress = Callable[[int, int], None]
"""(done, total)."""


class Drawn(Progress):
    """Lines that change on a terminal. Elsewhere nothing is written, where `Progress` ends with an empty line."""

    def __init__(self, console: Console, *columns: ProgressColumn, transient: bool = False) -> None:
        super().__init__(*columns, console=console, disable=not console.is_terminal, transient=transient)

    def stop(self) -> None:
        if not self.disable:
            super().stop()


@contextlib.contextmanager
def bars() -> Iterator[Callable[[str], ShowProgress]]:
    """A context that gives `name -> progress`, drawn on stderr while it is a terminal."""
    columns = (
        TextColumn("{task.description:<18}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Drawn(Console(stderr=True), *columns) as shown:

        def bar(name: str) -> ShowProgress:
            line = shown.add_task(name, total=None)
            return lambda done, total: shown.update(line, completed=done, total=total)

        yield bar


@contextlib.contextmanager
def ends(name: str) -> Iterator[Callable[[float, float], None]]:
    """A context that gives what shows both ends of a value while they close, in one line on stderr while it is a
    terminal."""
    columns = (TextColumn("{task.description}", markup=False), TimeElapsedColumn())
    with Drawn(Console(stderr=True), *columns, transient=True) as shown:
        line = shown.add_task("solving", total=None)

        def show(lower: float, upper: float) -> None:
            shown.update(line, description=f"{name}: [{lower:.7g}, {upper:.7g}]  gap {upper - lower:.2g}")

        yield show


class Tally:
    """How far a run has come and how long it will take, by a clock in seconds.

    Only what this process runs tells how long the rest takes: cells that stood and chunks made before took no time.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._began = clock()
        self.cells = self.standing = self.done = 0
        self._in_row = 0
        self._row_begun = 0.0
        self._row_share = 0.0

    def starts(self, cells: int, standing: int) -> None:
        """See `runs.observer.Observer`."""
        self._began = self._clock()
        self.cells, self.standing, self.done = cells, standing, 0

    def row(self, cells: int) -> None:
        """A row of so many missing cells begins."""
        self._in_row, self._row_share, self._row_begun = cells, 0.0, 0.0

    def chunk(self, progress: RowProgress) -> None:
        """The row has come this far."""
        self._row_share = (progress.done - progress.begun_at) / progress.chunks
        self._row_begun = progress.begun_at / progress.chunks

    def cell(self) -> None:
        """A cell is written: all of its row are made by then, though rows that learn nothing report no chunks."""
        self._row_share = 1.0 - self._row_begun
        self.done += 1
        self._in_row = max(0, self._in_row - 1)

    @property
    def left(self) -> int:
        """Cells that are missing."""
        return self.cells - self.standing - self.done

    @property
    def seconds_left(self) -> float | None:
        """An estimate, as if every cell took as long as those before; None before there is one."""
        made = self.done + self._in_row * self._row_share
        to_make = self.left - self._in_row * (self._row_share + self._row_begun)
        return (self._clock() - self._began) / made * to_make if made else None


class Lines:
    """An observer of a run where no terminal is: a line for each cell that is finished, and notes.

    score: the column whose mean over the runs is shown.
    """

    def __init__(self, score: Column, console: Console) -> None:
        self._score = score
        self._console = console
        self._tally = Tally()

    def __enter__(self) -> Lines:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def solving(self, done: int, total: int) -> None:
        """Problems are made ready."""

    def starts(self, cells: int, standing: int) -> None:
        """See `runs.observer.Observer`, as for the others."""
        self._tally.starts(cells, standing)

    def row(self, method: str, tasks: Sequence[str], cells: int) -> None:
        self._tally.row(cells)

    def chunk(self, progress: RowProgress) -> None:
        self._tally.chunk(progress)
        if progress.recompiled and progress.done == progress.chunks:
            self.note(f"{progress.recompiled} programs were compiled after the first chunk")

    def cell(self, record: Record) -> None:
        self._tally.cell()
        values = record.finished(self._score.metric)
        score = f"{self._score.label} {statistics.fmean(values):.4g}" if values else "no score"
        failed = f", {record.failed} of {len(record.seeds)} seeds failed" if record.failed else ""
        self._console.print(
            f"{record.method} on {record.task}: {score}{failed}  ({self._standing()})",
            highlight=False,
            markup=False,
            emoji=False,
            soft_wrap=True,
        )

    def note(self, message: str) -> None:
        note(message)

    def _standing(self) -> str:
        """Cells done and left, and the time that they will take."""
        tally = self._tally
        seconds = tally.seconds_left
        time_left = "" if seconds is None or not tally.left else f", {in_words(seconds)} left"
        return f"{tally.cells - tally.left} of {tally.cells} cells{time_left}"


def in_words(seconds: float) -> str:
    """A span of time to two units: `42 s`, `3 min 10 s`, `2 h 5 min`."""
    whole = max(1, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
