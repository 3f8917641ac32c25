"""What a terminal shows while a table is run: how far it is, the row that runs, the last cells, failures and notes.

A board is what is known at a moment; `drawn` is how it looks at a width and height, and nothing else.
"""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from rich.console import Console, ConsoleOptions, Group, OverflowMethod, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from seqrl_jax.commands.console import one_line
from seqrl_jax.commands.progress import Tally, in_words
from seqrl_jax.report import words
from seqrl_jax.results.record import Record
from seqrl_jax.results.scores import between, scale_ends
from seqrl_jax.runs.observer import RowProgress
from seqrl_jax.tracks.base import Track

REFRESHES = 1
"""In a second: a drawing takes some five milliseconds, which the run shall not miss."""
BAR, PLACE = 60, 18
"""Columns of the bars of progress at most, and of the bar between two proved values."""
ROOM_FOR_PLACES = 60
"""Columns of a terminal that has room for those, too."""
LAST_CELLS, LAST_SAID = 8, 4
LINES = 7
"""Beside the cells and what was said."""


@dataclass(frozen=True)
class RunningRow:
    """name: of the method and its tasks. progress: None while it compiles. seconds_left: of this row, None before its
    first chunk."""

    name: str
    progress: RowProgress | None = None
    seconds_left: float | None = None


@dataclass(frozen=True)
class FinishedCell:
    """place: of the mean between two proved values, 0 and 1; None where the track or the task has none."""

    name: str
    score: float | None
    place: float | None
    failed: bool


@dataclass(frozen=True)
class Board:
    """What is known at a moment, by a clock in seconds.

    score: what the scores are called. ends: the names of the proved values that places lie between, empty where the
    track has none. solving: (done, total) problems, None where all are ready. cells, done: asked for, and written.
    seconds_left: of all. at: when times left were estimated. finished: the last cells, the latest first. said:
    failures and notes, the latest last.
    """

    score: str
    ends: str
    began: float
    at: float
    solving: tuple[int, int] | None = None
    cells: int = 0
    done: int = 0
    seconds_left: float | None = None
    row: RunningRow | None = None
    finished: tuple[FinishedCell, ...] = ()
    said: tuple[str, ...] = ()


class Dashboard:
    """An observer of a run of a track on a terminal, on which it leaves nothing but what was said."""

    def __init__(self, track: Track, console: Console, clock: Callable[[], float] = time.monotonic) -> None:
        self._track, self._console, self._clock = track, console, clock
        self._tally = Tally(clock)
        # Notes come from the thread of signals, too.
        self._lock = threading.Lock()
        scale = next(iter(track.scales), None)
        ends = f"{words.bound(scale.zero)} to {words.bound(scale.one)}" if scale else ""
        self._board = Board(one_line(track.columns[0].label), ends, clock(), clock())
        self._row_began = clock()
        self._live = Live(
            console=console,
            get_renderable=lambda: drawn(self._board, clock(), console.options),
            refresh_per_second=REFRESHES,
            transient=True,
            vertical_overflow="crop",
        )

    def __enter__(self) -> Dashboard:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()
        for line in self._board.said:
            self._console.print(line, highlight=False, markup=False, emoji=False, soft_wrap=True)

    def solving(self, done: int, total: int) -> None:
        """Problems are made ready."""
        self._change(solving=(done, total) if done < total else None)

    def starts(self, cells: int, standing: int) -> None:
        """See `runs.observer.Observer`, as for the others."""
        self._tally.starts(cells, standing)
        self._change(solving=None, cells=cells, done=standing)

    def row(self, method: str, tasks: Sequence[str], cells: int) -> None:
        self._tally.row(cells)
        self._change(row=RunningRow(row_name(method, tasks)))

    def chunk(self, progress: RowProgress) -> None:
        self._tally.chunk(progress)
        made, now = progress.done - progress.begun_at, self._clock()
        self._row_began = self._row_began if made else now
        left = (now - self._row_began) / made * (progress.chunks - progress.done) if made else None
        name = self._board.row.name if self._board.row else ""
        self._change(row=RunningRow(name, progress, left))

    def cell(self, record: Record) -> None:
        self._tally.cell()
        finished = (finished_cell(self._track, record), *self._board.finished)[:LAST_CELLS]
        self._change(finished=finished, done=self._board.done + 1)
        if record.failures:
            of = f"{record.failed} of {len(record.seeds)} seeds failed"
            why = next(iter(record.failures.values()))
            self._say(f"{record.method} on {record.task}: {of}: {why}")

    def note(self, message: str) -> None:
        self._say(f"note: {message}")
        if self._live.is_started:
            self._live.refresh()

    def _say(self, line: str) -> None:
        with self._lock:
            self._board = replace(self._board, said=(*self._board.said, one_line(line)))

    def _change(self, **fields: object) -> None:
        estimated = {"seconds_left": self._tally.seconds_left, "at": self._clock()}
        with self._lock:
            self._board = replace(self._board, **estimated, **fields)  # type: ignore[arg-type]


def row_name(method: str, tasks: Sequence[str]) -> str:
    """A row in words: `ppo on tiger`, `ppo on 16 tasks`."""
    return f"{method} on {tasks[0] if len(tasks) == 1 else f'{len(tasks)} tasks'}"


def finished_cell(track: Track, record: Record) -> FinishedCell:
    """A record as a line of the board; seeds that failed are left out of its mean, and it says so."""
    values, scale = record.finished(track.columns[0].metric), next(iter(track.scales), None)
    score = statistics.fmean(values) if values else None
    ends = scale_ends(record.bounds, scale.zero, scale.one) if scale else None
    place = None if score is None or ends is None else between(score, *ends)
    return FinishedCell(one_line(f"{record.method} on {record.task}"), score, place, bool(record.failures))


def drawn(board: Board, now: float, options: ConsoleOptions) -> RenderableType:
    """A board as a terminal shows it; no line is longer than the terminal is wide."""
    said = board.said[-LAST_SAID:]
    room = max(0, (options.height or options.size.height) - LINES - len(said))
    parts = [*_overall(board, now, options), *_row(board, now, options)]
    if finished := board.finished[:room]:
        parts += [Text(), _cells(board, finished, options)]
    if said:
        parts += [Text(), *(_line(text, options, "yellow") for text in said)]
    return Group(*parts)


def _overall(board: Board, now: float, options: ConsoleOptions) -> list[RenderableType]:
    if board.solving is not None:
        done, total = board.solving
        return [_line(f"solving: {done} of {total} tasks", options), _progress(done, total, options)]
    left = _left(board.seconds_left if board.done < board.cells else None, board.at, now)
    gone = f"{in_words(now - board.began)} gone"
    text = f"{board.done} of {board.cells} cells  {', '.join(filter(None, [gone, left]))}"
    return [_line(text, options, "bold"), _progress(board.done, board.cells, options)]


def _row(board: Board, now: float, options: ConsoleOptions) -> list[RenderableType]:
    if board.row is None:
        return []
    progress = board.row.progress
    if progress is None:
        return [_line(f"{one_line(board.row.name)}: compiling", options), _progress(0, 1, options)]
    facts = [
        _left(board.row.seconds_left, board.at, now),
        None if progress.score is None else f"{board.score} {progress.score:.3g}",
        None if progress.steps_per_second is None else f"{progress.steps_per_second:,.0f} steps/s",
        f"{progress.recompiled} programs compiled again" if progress.recompiled else None,
    ]
    text = f"{one_line(board.row.name)}: {', '.join(fact for fact in facts if fact)}".removesuffix(": ")
    return [_line(text, options), _progress(progress.done, progress.chunks, options)]


def _cells(board: Board, finished: Sequence[FinishedCell], options: ConsoleOptions) -> Table:
    """The last cells, with their places between the proved values where any has one and there is room."""
    placed = options.max_width >= ROOM_FOR_PLACES and any(cell.place is not None for cell in finished)
    table = Table(box=None, expand=True, padding=(0, 1, 0, 0), header_style="dim", pad_edge=False)
    cut = _cut(options)
    table.add_column("last cells", ratio=1, no_wrap=True, overflow=cut)
    table.add_column(board.score, justify="right", no_wrap=True, overflow=cut, min_width=8)
    if placed:
        table.add_column(board.ends, no_wrap=True, overflow=cut, width=PLACE)
        table.add_column("", justify="right", no_wrap=True, overflow=cut, width=6)
    for cell in finished:
        score = Text("no score" if cell.score is None else f"{cell.score:.4g}{' !' if cell.failed else ''}")
        place = [Text(), Text()]
        if cell.place is not None:
            place = [bar(cell.place, PLACE, "#-" if options.ascii_only else "█░"), Text(words.two(cell.place))]
        table.add_row(Text(cell.name), score, *(place if placed else []), style="red" if cell.failed else "")
    return table


def bar(share: float, width: int, letters: str) -> Text:
    """Filled up to a share of 1, with the first of two letters, and the second behind; what lies outside sticks to the
    end."""
    filled = round(width * max(0.0, min(share, 1.0)))
    return Text.assemble((letters[0] * filled, "cyan"), (letters[1] * (width - filled), "dim"))


def _progress(done: int, total: int, options: ConsoleOptions) -> Text:
    letters = "=-" if options.ascii_only else "━─"
    return bar(done / max(total, 1), min(BAR, options.max_width), letters)


def _line(text: str, options: ConsoleOptions, style: str = "") -> Text:
    return Text(text, style=style, no_wrap=True, overflow=_cut(options))


def _cut(options: ConsoleOptions) -> OverflowMethod:
    """How a line ends that has no room."""
    return "crop" if options.ascii_only else "ellipsis"


def _left(seconds: float | None, at: float, now: float) -> str | None:
    """What is left now of a time that was left then; None where it is not known, or over."""
    remaining = 0.0 if seconds is None else seconds - (now - at)
    return f"{in_words(remaining)} left" if remaining > 0 else None
