import json

import pytest

from seqrl_jax.report import overall as overall_rows
from seqrl_jax.report.overall import STATISTICS, improvement, overall, profile
from seqrl_jax.report.sections import changed_tasks, mixtures, sections, warnings
from seqrl_jax.report.table import errors, for_machines, rows, without_scale
from seqrl_jax.results.record import Bound, Curve, Spent


def row(rows, **wanted):
    (found,) = [row for row in rows if all(getattr(row, key) == value for key, value in wanted.items())]
    return found


def bounds(**ends):
    return {name: Bound(*(end if isinstance(end, tuple) else (end, end)), "by hand") for name, end in ends.items()}


def test_a_row_holds_the_scores_by_hand(section, record):
    made = record(metrics={"return": [0.2, 0.3, 0.4], "price": [5.0, 6.0, 7.0]})
    found = row(rows(section(made)), kind="agent")
    assert found.score.value == pytest.approx(0.3) and found.score.low < 0.3 < found.score.high
    normalised, memory = found.scales["normalised"], found.scales["memory"]
    assert normalised.value.value == pytest.approx(0.3) and memory.value.value == pytest.approx((0.3 - 0.5) / 0.5)
    assert memory.value.low == pytest.approx((found.score.low - 0.5) / 0.5)
    assert memory.value.high == pytest.approx((found.score.high - 0.5) / 0.5)
    assert found.metrics["price"].value == pytest.approx(6.0)
    assert (found.seeds, found.failed, found.policy, found.certified) == (3, 0, "sampled", True)


def test_what_is_proved_comes_first_with_its_ends(section, record):
    made = record(bounds=bounds(random=0.0, plain=(0.5, 0.6), best=1.0))
    names = [(found.method, found.kind) for found in rows(section(made))]
    assert names == [("random", "certified"), ("plain", "certified"), ("best", "certified"), ("good", "agent")]
    plain = row(rows(section(made)), method="plain")
    assert (plain.score.value, plain.score.low, plain.score.high) == (0.5, 0.5, 0.6) and not plain.exact
    assert row(rows(section(made)), method="best").scales["memory"].value.value == 1.0


def test_a_task_has_one_scale_whatever_its_records_say(section, record):
    """That of the values that stand above the scores: those of the record made last."""
    wide = bounds(random=0.0, plain=0.5, best=2.0)
    made = section(record(), record(method="bad", bounds=wide, created="2026-02-01T00:00:00+00:00"))
    for found in (found for found in rows(made) if found.kind == "agent"):
        assert found.scales["normalised"].value.value == pytest.approx(0.3 / 2)
    means = {found.method: found.statistics["mean"].value for found in overall(made) if found.kind == "agent"}
    assert means == {method: pytest.approx(0.3 / 2) for method in ("good", "bad")}


def test_memory_is_proved_by_the_upper_end_and_shown_from_both(section, record):
    wide = bounds(random=0.0, plain=(0.5, 0.75), best=1.0)
    between = record(metrics={"return": [0.6, 0.61, 0.62]}, bounds=wide)
    above = record(metrics={"return": [0.9, 0.91, 0.92]}, bounds=wide)
    first, second = (row(rows(section(made)), kind="agent").scales["memory"] for made in (between, above))
    assert first.value.low > 0 and not first.proved
    assert second.proved
    assert second.value.value == pytest.approx(0.82) and second.of_upper.value == pytest.approx((0.91 - 0.75) / 0.25)
    exact = row(rows(section(record(metrics={"return": [0.9, 0.91, 0.92]}))), kind="agent").scales["memory"]
    assert exact.proved and exact.of_upper is None


def test_where_memory_gains_next_to_nothing_there_is_no_memory_score(section, record):
    close, wide = bounds(random=0.0, plain=0.999, best=1.0), bounds(random=0.0, plain=(0.5, 1.0), best=1.0)
    for proved in (close, wide):
        made = section(record(bounds=proved), record(task="second"))
        left, other = (found for found in rows(made) if found.kind == "agent")
        assert set(left.scales) == {"normalised"} and left.certified and for_machines(left)["memory"] is None
        assert set(other.scales) == {"normalised", "memory"}
        (sentence,) = without_scale(made)
        assert "memory" in sentence and "first" in sentence and "second" not in sentence
        assert ("is not proved that" in sentence) == (proved is wide)
    assert without_scale(section(record(), record(task="second", bounds={}, bounded_by=[]))) == []


def test_one_seed_has_no_interval(section, record):
    found = row(rows(section(record(metrics={"return": [0.3]}))), kind="agent")
    assert found.score.value == 0.3 and found.score.low is None and found.score.high is None
    reported = for_machines(found)
    assert reported["score"] == {"mean": 0.3, "low": None, "high": None}
    assert reported["normalised"]["low"] is None and reported["normalised"]["mean"] == pytest.approx(0.3)


def test_failed_seeds_are_left_out_of_a_cell_and_count_as_nothing_gained_over_tasks(section, record):
    failures = {"1": "diverged"}
    made = section(record(metrics={"return": [0.8, None, 0.8]}, failures=failures, curves={}))
    found = row(rows(made), kind="agent")
    assert (found.failed, found.score.value) == (1, pytest.approx(0.8))
    (total,) = [line for line in overall(made) if line.kind == "agent"]
    assert total.failed == 1 and total.statistics["mean"].value == pytest.approx(1.6 / 3)
    assert "good on first, 1 of 3 seeds failed (1): diverged" in warnings(made)


def test_a_cell_of_which_every_seed_failed_has_a_row_without_a_score(section, record):
    made = record(metrics={"return": [None] * 3}, failures={str(n): "diverged" for n in range(3)}, curves={})
    found = row(rows(section(made)), kind="agent")
    assert found.score is None and found.scales == {} and for_machines(found)["score"] is None
    (total,) = [line for line in overall(section(made)) if line.kind == "agent"]
    assert total.statistics["mean"].value == 0.0


@pytest.mark.parametrize("known", [{}, bounds(random=0.0), bounds(random=1.0, best=1.0)])
def test_a_task_that_proves_too_little_shows_its_return_alone(section, record, known):
    made = section(record(bounds=known, bounded_by=[]))
    found = row(rows(made), kind="agent")
    assert not found.certified and found.scales == {} and found.score.value == pytest.approx(0.3)
    reported = for_machines(found)
    assert reported["normalised"] is None and reported["memory"] is None
    assert [line for line in overall(made) if line.kind == "agent"] == []


def test_machines_get_every_field_of_the_contract(section, record):
    reported = [for_machines(found) for found in rows(section(record()))]
    contract = {"task", "agent", "seeds", "failed", "score", "normalised", "memory"}
    more = {"track", "kind", "marked_wrong", "policy", "certified", "metrics", "warnings"}
    assert all(set(one) == contract | more for one in reported)
    assert all(
        set(one[name]) >= {"mean", "low", "high"} for one in reported for name in ("score", "normalised", "memory")
    )


def test_over_tasks_every_statistic_has_its_own_interval_and_the_worst_task_is_named(section, record):
    made = section(
        record(metrics={"return": [0.9, 1.0, 1.1]}),
        record(task="second", metrics={"return": [0.0, 0.1, 0.2]}),
        record(task="third", metrics={"return": [0.9, 1.0, 1.1]}),
    )
    (total,) = [line for line in overall(made) if line.kind == "agent"]
    assert list(total.statistics) == ["mean", "median", "IQM", "optimality gap"]
    assert total.statistics["mean"].value == pytest.approx(2.1 / 3)
    assert total.statistics["median"].value == pytest.approx(1.0)
    assert total.statistics["IQM"].value == pytest.approx((0.2 + 0.9 + 0.9 + 1.0 + 1.0) / 5)
    assert total.statistics["optimality gap"].value == pytest.approx(1 - (2 * (0.9 + 1 + 1) + 0.3) / 9)
    assert all(value.low < value.value < value.high for value in total.statistics.values())
    assert len({(value.low, value.high) for value in total.statistics.values()}) == len(STATISTICS)
    assert (total.worst_task, total.worst_score) == ("second", pytest.approx(0.1))
    assert overall_rows.for_machines(total)["worst"] == {"task": "second", "score": total.worst_score}


def test_proved_values_over_tasks_lie_between_their_ends(section, record):
    made = section(record(bounds=bounds(random=0.0, plain=(0.5, 0.6), best=1.0)))
    plain = row(overall(made), method="plain")
    assert (plain.statistics["IQM"].low, plain.statistics["IQM"].high) == (0.5, 0.6)
    gap = plain.statistics["optimality gap"]
    assert (gap.value, gap.low, gap.high) == (0.5, pytest.approx(0.4), 0.5)


def test_a_profile_falls_from_all_runs_to_none(section, record):
    made = section(record(metrics={"return": [0.25, 0.55, 0.95]}))
    (total,) = [line for line in overall(made) if line.kind == "agent"]
    shares = [share.value for share in profile(made, total)]
    assert shares[0] == 1.0 and shares[-1] == 0.0
    assert shares[3] == pytest.approx(2 / 3) and shares[6] == pytest.approx(1 / 3)


def test_improvement_is_the_share_of_pairs_won(section, record):
    made = section(record(metrics={"return": [0.1, 0.2, 0.3]}), record(method="bad", metrics={"return": [0.15] * 3}))
    assert improvement(made, "good", "bad").probability.value == pytest.approx(2 / 3)
    assert improvement(made, "bad", "good").probability.value == pytest.approx(1 / 3)
    assert improvement(made, "good", "absent") is None


def test_a_score_above_what_is_proved_is_an_error_and_so_is_what_the_track_says(section, record):
    made = section(record(metrics={"return": [0.1, 2.0, 0.1]}), errors_below=("two and two are five",))
    above, track = errors(made)
    assert "above the proven bound" in above and track == "two and two are five"


def test_tasks_that_changed_and_code_that_did_are_named(section, record):
    # An hour before the others, though not as text.
    old = "2026-01-01T09:00:00+10:00"
    made = section(
        record(),
        record(method="bad", task_fingerprint="ff", created=old),
        record(task="second", code_fingerprint="other", versions={"jax": "0.11"}),
    )
    (changed,) = changed_tasks(made)
    assert "first has changed" in changed and "bad" in changed and "good" not in changed
    assert changed in errors(made)
    code, packages = mixtures(made)
    assert "code of good" in code and "jax 0.10.2 and 0.11" in packages
    assert mixtures(section(record(), record(task="second"))) == []


def test_code_is_compared_between_tasks_of_the_same_modules(section, record):
    """A fingerprint is of the task's modules, too, so that of a task of others says nothing of what changed."""
    one, other = record(), record(task="second", code_fingerprint="of another module, too")
    assert len(mixtures(section(one, other))) == 1
    assert mixtures(section(one, other, modules={"second": ("its.module",)})) == []
    changed = record(task="third", code_fingerprint="changed")
    assert len(mixtures(section(one, other, changed, modules={"second": ("its.module",)}))) == 1


def test_tasks_and_methods_stand_in_the_order_of_their_registries(section, record):
    specs = [("zzz", "bad"), ("second:x=1", "good"), ("first", "other"), ("first", "bad"), ("first", "good:y=2")]
    made = section(*(record(task=task, method=method) for task, method in specs))
    assert [one.task for one in made.records] == ["first", "first", "first", "second:x=1", "zzz"]
    assert list(made.methods) == ["good", "good:y=2", "bad", "other"]


@pytest.mark.parametrize(
    "fields",
    [
        {"metrics": {"return": [1e308, 1.2e308, 1.7e308]}, "bounded_by": []},
        {"metrics": {"return": [0.2, 0.3, 0.4], "price": [-1.7e308, None, 1.7e308]}},
        {"standard_errors": {"return": [1e308] * 3}, "episodes": [9] * 3},
        {"bounds": bounds(random=-1.7e308, best=1.7e308)},
        {"curves": {"return": Curve("steps", [0.0], [[0.0, 0.0, -1.7e308]])}},
        {"spent": Spent(1.7e308, 1.7e308, 0.0)},
    ],
)
def test_numbers_that_sums_overflow_with_are_named_and_skipped(track, record, fields):
    found, (skipped,) = sections([record(), record(task="second", **fields)], {"made": track()})
    assert [one.task for section in found for one in section.records] == ["first"]
    assert skipped.startswith("good on second: a number of the magnitude 1") and "beyond 1e+100" in skipped


def test_numbers_as_large_as_are_told_are_handled(section, record):
    made = section(
        record(metrics={"return": [-1e100, 2e99, 1e100]}, bounded_by=[]),
        record(task="second", bounds=bounds(random=-1e100, plain=0.0, best=1e100)),
        record(task="second", method="bad", metrics={"return": [1e100]}, bounds=bounds(random=0.0, best=1e-8)),
    )
    said = [for_machines(found) for found in rows(made)] + [overall_rows.for_machines(found) for found in overall(made)]
    assert "Infinity" not in json.dumps(said) and "NaN" not in json.dumps(said)


def test_what_no_track_knows_is_named_and_skipped(track, record):
    stray = record(track="elsewhere")
    lame = record(task="second", metrics={"price": [1.0, 2.0, 3.0]})
    found, skipped = sections([record(), stray, lame], {"made": track()})
    assert len(found) == 1 and len(found[0].records) == 1
    assert any("'elsewhere'" in line and "1 record" in line for line in skipped)
    assert any("good on second: no return" in line for line in skipped)
