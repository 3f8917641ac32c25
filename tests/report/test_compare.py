import json

import pytest

from seqrl_jax import cli
from seqrl_jax.report.compare import caveats, cells, compare, compare_overall, for_machines, grids, pairs, unpaired
from seqrl_jax.results import store
from seqrl_jax.results.record import Bound


@pytest.fixture
def runs(section, record):
    first = section(record(), record(task="second", metrics={"return": [0.5, 0.6, 0.7]}))
    second = section(
        record(seeds=[2, 1, 5], metrics={"return": [0.6, 0.4, 9.0]}, bounded_by=[], curves={}),
        record(task="second", metrics={"return": [0.6, None, 0.8]}, failures={"1": "diverged"}, curves={}),
        record(method="bad"),
    )
    return first, second


def test_seeds_are_paired_by_their_number(runs):
    first, second = runs
    one, other = compare(first, pairs(first, second, None))
    assert one.methods == ("good", "good") and one.pairs == 2
    # Seed 1: .4 - .3, seed 2: .6 - .4.
    assert one.difference.value == pytest.approx(0.15) and one.scaled.value == pytest.approx(0.15)
    assert (other.pairs, other.failed) == (2, 1)
    assert other.difference.value == pytest.approx(0.1)
    assert other.scaled.value == pytest.approx((0.1 - 0.6 + 0.1) / 3), "a seed that fails gains nothing"


def test_methods_of_one_run_are_compared_on_the_tasks_of_both(section, record):
    made = section(record(), record(method="bad", metrics={"return": [0.1, 0.1, 0.1]}), record(task="second"))
    (row,) = compare(made, pairs(made, made, ("good", "bad")))
    assert row.task == "first" and row.methods == ("good", "bad") and row.difference.value == pytest.approx(-0.2)
    (total,) = compare_overall(made, pairs(made, made, ("good", "bad")))
    assert total.tasks == 1 and total.difference.value == pytest.approx(-0.2) and total.improvement.value == 0.0


def test_a_run_against_itself_differs_by_nothing(runs):
    first, _ = runs
    for row in [*compare(first, pairs(first, first, None)), *compare_overall(first, pairs(first, first, None))]:
        reported = for_machines(row)["difference"]
        assert reported == {"value": 0.0, "low": 0.0, "high": 0.0}


def test_no_common_seed_is_no_difference(section, record):
    first, second = section(record()), section(record(seeds=[7, 8, 9]))
    (row,) = compare(first, pairs(first, second, None))
    assert row.pairs == 0 and row.difference is None and row.scaled is None
    assert compare_overall(first, pairs(first, second, None)) == []
    assert "–" in grids(first, pairs(first, second, None))[0].lines[0].entries


def test_what_else_differs_between_the_runs_is_named(section, record):
    first, second = section(record()), section(record(task_fingerprint="ff", steps_asked=1000))
    assert caveats(pairs(first, second, None)) == [
        "first is not the same task in both",
        "100 steps of training against 1,000: good",
    ]
    assert caveats(pairs(first, first, None)) == []


@pytest.mark.parametrize("last", ["first", "second"])
def test_two_runs_are_compared_on_one_scale(section, record, last):
    """The same scores, though one run proves a best value of 1 and the other one of 2."""
    later = {"created": "2026-02-01T00:00:00+00:00"}
    wide = {"random": Bound(0, 0, ""), "plain": Bound(0.5, 0.5, ""), "best": Bound(2, 2, "")}
    first = section(record(**(later if last == "first" else {})))
    second = section(record(metrics={"return": [0.4, 0.5, 0.6]}, bounds=wide, **(later if last == "second" else {})))
    both = pairs(first, second, None)
    (row,), (total,) = compare(first, both), compare_overall(first, both)
    best = 1 if last == "first" else 2
    assert row.scaled.value == pytest.approx(0.2 / best) == total.difference.value
    assert caveats(both) == ["first has other certified values in the two: both are scaled by those of the last"]


def test_cells_that_one_side_lacks_are_listed(section, record):
    first = section(record(), record(task="second"), record(method="bad"))
    second = section(record(), record(method="other"), record(task="second", method="other"))
    mine, theirs = unpaired([first], [second], None)
    assert cells(mine) == ["bad on first", "good on second"]
    assert cells(theirs) == ["other on first and second"]
    assert [cells(side) for side in unpaired([first], [first], ("good", "bad"))] == [["good on second"], []]
    assert [cells(side) for side in unpaired([first], [], None)] == [["good on first and second", "bad on first"], []]


def test_the_command_lists_them_too(tmp_path, record, capsys):
    for name, tasks in (("a", ("tiger", "tmaze")), ("b", ("tiger", "peek_maze"))):
        for task in tasks:
            store.write(tmp_path / name, record(track="pomdp", task=task, method="ppo", bounds={}, bounded_by=[]))
    words = ["compare", str(tmp_path / "a"), str(tmp_path / "b")]
    assert cli.main([*words, "--json"]) == 0
    output = json.loads(capsys.readouterr().out)
    assert [row["task"] for row in output["rows"]] == ["tiger"]
    assert output["only_first"] == [{"track": "pomdp", "task": "tmaze", "agent": "ppo"}]
    assert output["only_second"] == [{"track": "pomdp", "task": "peek_maze", "agent": "ppo"}]
    assert cli.main(words) == 0
    said = capsys.readouterr().err
    assert f"only in {tmp_path / 'a'}: ppo on tmaze" in said and f"only in {tmp_path / 'b'}: ppo on peek_maze" in said


def test_other_columns_are_compared_where_both_have_them(section, record):
    priced = {"return": [0.2, 0.3, 0.4], "price": [1.0, None, 3.0]}
    first, second = section(record(metrics=priced)), section(record(metrics={**priced, "price": [2.0, 9.0, 4.0]}))
    (row,) = compare(first, pairs(first, second, None))
    assert row.metrics["price"].value == pytest.approx(1.0) and row.difference.value == 0.0
    (lame,) = compare(first, pairs(first, section(record()), None))
    assert lame.metrics == {}
