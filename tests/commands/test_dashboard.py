import io
import threading

import msgspec
import pytest
from rich.console import Console
from toy import SUITE, Toy

from seqrl_jax.commands.dashboard import LAST_CELLS, Dashboard, bar, drawn
from seqrl_jax.commands.progress import Lines
from seqrl_jax.commands.watching import watching
from seqrl_jax.runs.observer import RowProgress
from seqrl_jax.runs.plan import Order
from seqrl_jax.runs.runner import run
from seqrl_jax.tracks.base import Budget


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def terminal(width=100, height=30, encoding="utf-8", **environment):
    file = io.TextIOWrapper(io.BytesIO(), encoding=encoding, write_through=True)
    known = {"TERM": "xterm", "COLUMNS": str(width), "LINES": str(height), **environment}
    return Console(file=file, force_terminal=True, width=width, height=height, color_system=None, _environ=known)


def lines(board, console):
    """What the terminal shows of it."""
    with console.capture() as captured:
        console.print(drawn(board._board, board._clock(), console.options))
    return captured.get().splitlines()


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    order = Order(Toy(), ["slow"], Toy().problems(Toy.tasks, None), Budget(SUITE.steps, 8, (0, 1)), "")
    return run(order, tmp_path_factory.mktemp("coins"))


@pytest.fixture
def busy(records):
    """(console, its clock) -> a board in the midst of a run."""

    def busy(console, clock):
        board = Dashboard(Toy(), console, clock)
        board.starts(40, 10)
        board.row("slow", ["penny", "dime"], 2)
        for done in range(3):
            board.chunk(RowProgress(done, 8, 0, steps=100, steps_per_second=1234.5 if done else None, score=0.25))
            clock.now += 10
        for record in 4 * records:
            board.cell(record)
        board.cell(failed(records[0]))
        board.note("something that takes a long sentence to be said, which no narrow terminal has room for")
        return board

    return busy


def failed(record):
    lost = {str(seed): "not finite" for seed in record.seeds}
    return msgspec.structs.replace(record, metrics={"won": [None, None]}, failures=lost)


def test_the_board_counts_cells_and_tells_how_the_row_stands():
    console, clock = terminal(), Clock()
    board = Dashboard(Toy(), console, clock)
    board.solving(1, 3)
    assert lines(board, console)[0] == "solving: 1 of 3 tasks"
    board.solving(3, 3)
    board.starts(5, 1)
    board.row("slow", ["penny", "dime"], 2)
    shown = lines(board, console)
    assert shown[0] == "1 of 5 cells  1 s gone" and shown[2] == "slow on 2 tasks: compiling"
    assert shown[1].count("━") == 12 and shown[1].count("─") == 48, "a fifth"
    board.chunk(RowProgress(0, 8, 0, steps=0, steps_per_second=None, score=None))
    assert lines(board, console)[2] == "slow on 2 tasks"
    clock.now += 20
    board.chunk(RowProgress(2, 8, 0, steps=100, steps_per_second=1234.5, score=0.25))
    shown = lines(board, console)
    assert shown[2] == "slow on 2 tasks: 1 min 0 s left, won 0.25, 1,234 steps/s"
    assert shown[0] == "1 of 5 cells  20 s gone, 2 min 20 s left", "4 cells of 40 s, less the half cell that is made"
    clock.now += 15
    assert "45 s left" in lines(board, console)[2], "it counts down until the next chunk"
    clock.now += 45
    assert "left" not in lines(board, console)[2], "what takes longer is not over at once"
    board.chunk(RowProgress(3, 8, 0, steps=150, steps_per_second=1234.5, score=0.25, recompiled=2))
    assert lines(board, console)[2].endswith("1,234 steps/s, 2 programs compiled again")


def test_a_row_that_goes_on_is_timed_from_where_it_was_taken_over():
    console, clock = terminal(), Clock()
    board = Dashboard(Toy(), console, clock)
    board.starts(1, 0)
    board.row("slow", ["penny"], 1)
    clock.now += 100
    board.chunk(RowProgress(6, 8, 6, steps=0, steps_per_second=None, score=None))
    clock.now += 10
    board.chunk(RowProgress(7, 8, 6, steps=0, steps_per_second=None, score=None))
    assert "slow on penny: 10 s left" in lines(board, console)[2]


def test_finished_cells_stand_between_what_is_proved(records):
    console = terminal()
    board = Dashboard(Toy(), console)
    board.starts(3, 0)
    for record in records:
        board.cell(msgspec.structs.replace(record, metrics={"won": [0.25, 0.25]}))
    heading, *cells = lines(board, console)[3:]
    assert heading.split() == ["last", "cells", "won", "guess", "to", "best"]
    # Of a fair coin half of what is possible, of the loaded one .25 of .9.
    assert [line.split()[:4] for line in cells] == [[*["slow", "on", "loaded", "0.25"]]] + [
        [*f"slow on {coin} 0.25".split()][:4] for coin in ("dime", "penny")
    ]
    assert [(line.count("█"), line.split()[-1]) for line in cells] == [(5, "0.28"), (9, "0.50"), (9, "0.50")]


def test_what_is_proved_of_no_task_has_no_bar(records):
    console = terminal()
    board = Dashboard(Toy(), console)
    board.cell(msgspec.structs.replace(records[0], bounds={}, bounded_by=[]))
    assert "guess to best" not in "".join(lines(board, console)) and "█" not in "".join(lines(board, console))


@pytest.mark.parametrize("place, filled", [(-3.0, 0), (0.0, 0), (0.5, 9), (1.0, 18), (7.0, 18)])
def test_what_lies_outside_sticks_to_the_end_of_the_bar(place, filled):
    assert bar(place, 18, "#-").plain == "#" * filled + "-" * (18 - filled)


@pytest.mark.parametrize("width", [1, 8, 20, 38, 60, 100, 250])
@pytest.mark.parametrize("height", [3, 9, 14, 30])
def test_no_terminal_is_too_small(busy, width, height):
    console, clock = terminal(width, height), Clock()
    shown = lines(busy(console, clock), console)
    assert max(map(len, shown)) <= width
    assert len(shown) <= max(height, 7)
    if width >= 60 and height == 30:
        assert sum("slow on" in line and "░" in line for line in shown) == LAST_CELLS - 1
        assert any("no score" in line for line in shown) and any("2 of 2 seeds failed" in line for line in shown)


def test_a_terminal_without_letters_for_bars_gets_plain_ones(busy):
    console = terminal(encoding="ascii")
    text = "\n".join(lines(busy(console, Clock()), console))
    assert text.isascii() and "===" in text and "###" in text


def test_names_and_reasons_steer_no_terminal(records):
    console = terminal()
    board = Dashboard(Toy(), console)
    hostile = "task:x=1 [red]\x1b[2J"
    board.row(hostile, ["penny"], 1)
    board.cell(msgspec.structs.replace(failed(records[0]), task=hostile))
    text = "\n".join(lines(board, console))
    assert "\x1b" not in text and text.count("[red]\\x1b[2J") == 3


def test_what_was_said_stays_when_the_board_goes(records):
    console = terminal()
    with Dashboard(Toy(), console) as board:
        board.starts(2, 0)
        board.note("something")
        board.cell(failed(records[0]))
    shown, erased = console.file.buffer.getvalue().decode(), "\x1b[2K"
    assert erased in shown and shown.rpartition(erased)[2].splitlines() == [
        "note: something",
        "slow on penny: 2 of 2 seeds failed: not finite",
    ]


def test_notes_of_another_thread_are_not_lost(records):
    board = Dashboard(Toy(), terminal())
    say = threading.Thread(target=lambda: [board.note(str(number)) for number in range(300)])
    say.start()
    for _ in range(100):
        board.cell(failed(records[0]))
    say.join()
    assert len(board._board.said) == 400 and board._board.done == 100


def test_a_terminal_that_moves_no_cursor_gets_lines():
    assert isinstance(watching(Toy(), terminal()), Dashboard)
    assert isinstance(watching(Toy(), terminal(TERM="dumb")), Lines)
    assert isinstance(watching(Toy(), Console(file=io.StringIO(), force_terminal=False)), Lines)
