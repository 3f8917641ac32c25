import pytest

from seqrl_jax.report.compare import caveats, compare, compare_overall, for_machines, grids, pairs


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


def test_other_columns_are_compared_where_both_have_them(section, record):
    priced = {"return": [0.2, 0.3, 0.4], "price": [1.0, None, 3.0]}
    first, second = section(record(metrics=priced)), section(record(metrics={**priced, "price": [2.0, 9.0, 4.0]}))
    (row,) = compare(first, pairs(first, second, None))
    assert row.metrics["price"].value == pytest.approx(1.0) and row.difference.value == 0.0
    (lame,) = compare(first, pairs(first, section(record()), None))
    assert lame.metrics == {}
