"""The table row by row: only what is asked for, in that order; what is not known is refused with what is near."""

import csv
import io
import json

import pytest

from seqrl_jax import cli
from seqrl_jax.naming import SpecError
from seqrl_jax.report.chosen import chosen, chosen_grid
from seqrl_jax.report.formats import FORMATS
from seqrl_jax.results import store


@pytest.fixture
def two(section, record):
    """good on two tasks, bad on the first, with prices of which the lower is better."""
    return section(
        record(metrics={"return": [0.2, 0.3, 0.4], "price": [3.0, 3.0, 3.0]}),
        record(method="bad", metrics={"return": [0.1, 0.1, 0.1], "price": [1.0, 1.0, 1.0]}),
        record(task="second", metrics={"return": [0.9, 0.9, 0.9]}),
    )


def agents(rows):
    return [(row["task"], row["agent"]) for row in rows if row["agent"] in ("good", "bad")]


def test_columns_are_those_asked_for_in_their_order(two):
    rows = chosen([two], ["agent", "price", "task"])
    assert all(list(row) == ["agent", "price", "task"] for row in rows)
    assert [row["price"] and row["price"]["mean"] for row in rows if row["agent"] == "good"] == [3.0, None]


def test_numbers_are_sorted_best_first_and_what_is_missing_comes_last(two):
    by = lambda *names: agents(chosen([two], sort=names))
    assert by("score") == [("second", "good"), ("first", "good"), ("first", "bad")]
    assert by("price") == [("first", "bad"), ("first", "good"), ("second", "good")], "a low price is better"
    assert by("agent") == [("first", "bad"), ("first", "good"), ("second", "good")], "texts by name"
    assert by("agent", "score") == [("first", "bad"), ("second", "good"), ("first", "good")]


def test_fewer_failures_come_first(section, record):
    lost = record(method="bad", metrics={"return": [None, 0.1, 0.1]}, failures={"0": "diverged"}, curves={})
    assert agents(chosen([section(lost, record())], sort=["failed"])) == [("first", "good"), ("first", "bad")]


def test_nothing_recorded_is_no_wrong_column():
    assert chosen([], ["task"], ["score"]) == []


def test_all_that_a_reader_needs_is_there_unless_columns_are_named(two):
    assert list(chosen([two], sort=["score"])[0]) == ["task", "agent", "score", "normalised", "memory", "seeds"]


def test_an_unknown_column_is_refused_with_the_nearest(two):
    with pytest.raises(SpecError, match="unknown column 'scor'; did you mean score"):
        chosen([two], ["task", "scor"])
    with pytest.raises(SpecError, match="unknown column 'prize'; did you mean price"):
        chosen([two], sort=["prize"])


def test_a_terminal_shows_the_first_column_as_label_and_means_with_intervals(two):
    shown = chosen_grid(chosen([two], ["task", "agent", "score", "marked_wrong"]))
    assert shown.corner == "task" and shown.columns == ["agent", "score", "marked_wrong"]
    bad = next(line for line in shown.lines if line.entries[0] == "bad")
    assert (bad.label, list(bad.entries)) == ("first", ["bad", "0.10 [0.10, 0.10]", "false"])
    assert not chosen_grid([]).lines


@pytest.fixture
def recorded(record, tmp_path):
    for method, value in (("ppo", 0.4), ("dqn", 0.2)):
        store.write(tmp_path, record(track="pomdp", task="tiger", method=method, metrics={"return": [value] * 3}))
    return tmp_path


@pytest.mark.parametrize("format", [*FORMATS, None])
def test_the_command_prints_each_format(format, recorded, capsys):
    words = ["table", str(recorded), "--columns", "agent", "score", "--sort", "score"]
    assert cli.main([*words, *(["--format", format] if format else [])]) == 0
    out = capsys.readouterr().out
    assert -1 < out.index("ppo") < out.index("dqn") and "agent" in out and "tiger" not in out
    if format == "csv":
        assert list(csv.DictReader(io.StringIO(out)).fieldnames) == ["agent", "score.mean", "score.low", "score.high"]


def test_the_command_prints_json_and_refuses_in_one_line(recorded, capsys):
    assert cli.main(["table", str(recorded), "--sort", "score", "--columns", "agent", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert [row["agent"] for row in rows if row["agent"] in ("ppo", "dqn")] == ["ppo", "dqn"]
    for more in (["--profile"], ["--json", "--format", "md"], ["--improvement", "ppo", "dqn"]):
        assert cli.main(["table", str(recorded), "--sort", "score", *more]) == 2
    assert cli.main(["table", str(recorded), "--columns", "agnet"]) == 2
    assert capsys.readouterr().err.splitlines()[-1] == "seqrl: unknown column 'agnet'; did you mean agent?"
