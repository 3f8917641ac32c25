import io

import msgspec
import pytest
from rich.console import Console
from toy import SUITE, Toy

from seqrl_jax.commands.progress import Lines, Tally, in_words
from seqrl_jax.runs.observer import RowProgress
from seqrl_jax.runs.plan import Order
from seqrl_jax.runs.runner import run
from seqrl_jax.tracks.base import Budget


class Clock:
    """A clock that goes when it is reported to."""

    now = 100.0

    def __call__(self):
        return self.now


def at_chunk(done, chunks=4, begun_at=0):
    return RowProgress(done, chunks, begun_at, steps=0, steps_per_second=None, score=None)


def test_time_left_follows_from_what_this_process_ran():
    """Of ten cells four stood. The first row has two, and takes ten seconds a chunk, of four."""
    clock = Clock()
    tally = Tally(clock)
    tally.starts(10, 4)
    tally.row(2)
    assert tally.left == 6 and tally.seconds_left is None
    tally.chunk(at_chunk(0))
    clock.now += 10
    tally.chunk(at_chunk(1))
    assert tally.seconds_left == pytest.approx(110), "6 cells, 20 s each, less what is made"
    clock.now += 30
    tally.chunk(at_chunk(4))
    assert tally.seconds_left == pytest.approx(80)
    tally.cell()
    tally.cell()
    assert tally.left == 4 and tally.seconds_left == pytest.approx(80)


def test_a_row_without_chunks_is_made_when_its_first_cell_is_written():
    """Four of eight cells come at once after 12 seconds: the other four take as long."""
    clock = Clock()
    tally = Tally(clock)
    tally.starts(8, 0)
    tally.row(4)
    clock.now += 12
    tally.cell()
    assert tally.seconds_left == pytest.approx(12)
    tally.cell()
    assert tally.seconds_left == pytest.approx(12)


def test_chunks_of_an_earlier_process_took_this_one_no_time():
    clock = Clock()
    tally = Tally(clock)
    tally.starts(2, 0)
    tally.row(1)
    tally.chunk(at_chunk(2, begun_at=2))
    assert tally.seconds_left is None
    clock.now += 10
    tally.chunk(at_chunk(3, begun_at=2))
    assert tally.seconds_left == pytest.approx(50), "a chunk of this cell and four of the next"


@pytest.mark.parametrize(
    "seconds, words", [(0.2, "1 s"), (59.4, "59 s"), (60, "1 min 0 s"), (190, "3 min 10 s"), (7500, "2 h 5 min")]
)
def test_a_span_of_time_in_words(seconds, words):
    assert in_words(seconds) == words


def test_elsewhere_than_on_a_terminal_each_cell_is_a_line(tmp_path, capsys):
    output = io.StringIO()
    order = Order(Toy(), ["slow"], Toy().problems(Toy.tasks, None), Budget(SUITE.steps, 8, (0, 1)), "")
    with Lines(Toy.columns[0], Console(file=output, force_terminal=False, width=120)) as lines:
        records = run(order, tmp_path, lines)
        lines.note("something")
    printed = output.getvalue().splitlines()
    assert [line.partition(":")[0] for line in printed] == [f"slow on {task}" for task in Toy.tasks]
    assert printed[-1].endswith("(3 of 3 cells)") and "left" in printed[0]
    assert "won " + format(sum(records[0].metrics["won"]) / 2, ".4g") in printed[0]
    assert capsys.readouterr().err == "note: something\n"
    failed = msgspec.structs.replace(records[0], metrics={"won": [None, None]}, failures={"0": "nan", "1": "nan"})
    lines.cell(failed)
    assert output.getvalue().splitlines()[-1].startswith("slow on penny: no score, 2 of 2 seeds failed")
    lines.cell(msgspec.structs.replace(failed, task="task:tiger:x=1 [red]"))
    assert output.getvalue().splitlines()[-1].startswith("slow on task:tiger:x=1 [red]: "), "a name is no markup"
