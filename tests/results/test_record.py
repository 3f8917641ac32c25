import math

import pytest

from seqrl_jax.results.record import Bound, Curve, RecordError, Spent


def test_what_fits_is_taken(make_record):
    record = make_record(metrics={"return": [0.2, None, 0.4]}, failures={"1": "its weights were not finite"})
    assert record.failed == 1 and record.finished("return") == [0.2, 0.4] and record.finished("nothing") == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seeds": [0, 0, 1]}, "seeds: must be distinct"),
        ({"metrics": {"return": [0.1]}}, "metrics.return: must have 3 entries"),
        ({"metrics": {"return": [0.1, math.nan, 0.0]}}, "metrics.return: must hold finite numbers or null"),
        ({"metrics": {"return": [0.1, 10**400, 0.0]}}, "metrics.return: must hold finite numbers or null"),
        ({"standard_errors": {"return": [-1.0, 0.0, 0.0]}}, "standard_errors.return: must not be negative"),
        ({"standard_errors": {"reward": [0.0, 0.0, 0.0]}}, "standard_errors.reward: is of no metric"),
        ({"episodes": [None]}, "episodes: must have 3 entries"),
        ({"curves": {"return": Curve("steps", [0.0], [[0.0]])}}, r"curves.return.values\[0\]: must have 3 entries"),
        ({"failures": {"7": "why"}}, "failures.7: is no seed of this record"),
        ({"failures": {"0": "why"}}, "failures.0: has a number in every metric"),
        ({"bounded_by": ["optimum"]}, "bounded_by.optimum: is no bound of this record"),
        ({"config": {"a": {"b": [1, math.inf]}}}, r"config.a.b\[1\]: must be a finite number"),
        ({"config": {"a": (1, 2)}}, "config.a: cannot be a tuple"),
        ({"config": {"a": {1: 2}}}, "config.a: must have strings for keys"),
        *(
            ({"created": created}, "created: must be an ISO 8601 time")
            for created in ("yesterday", "", "2026-02-30", "2026-01-01 00:00:00", "2026-01-01x00:00", "2026-01-01T")
        ),
    ],
)
def test_what_cannot_be_is_refused_by_its_field(make_record, changes, message):
    with pytest.raises(RecordError, match=message):
        make_record(**changes)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Bound(1.0, 0.0, "exact"), "lower: must not lie above upper"),
        (lambda: Bound(0.0, math.inf, "none"), "upper: must be a finite number"),
        (lambda: Curve("steps", [0.0, 0.0], [[1.0], [1.0]]), "at: must increase"),
        (lambda: Curve("steps", [0.0, math.nan], [[1.0], [1.0]]), "at: must hold finite numbers"),
        (lambda: Curve("steps", [0.0, 1.0], [[1.0]]), "values: must have 2 rows"),
        (lambda: Spent(training=math.inf), "training: must be a finite number"),
    ],
)
def test_parts_that_cannot_be_are_refused(build, message):
    with pytest.raises(RecordError, match=message):
        build()


@pytest.mark.parametrize(
    "moments",
    [
        ["2026-01-01T10:00:00+05:00", "2026-01-01T06:00:00Z", "2026-01-01T00:00:00-07:00"],
        ["2026-01-01T00:00:00Z", "2026-01-01T00:00:00.5Z", "2026-01-01T00:00:00,75+00:00", "2026-01-01T00:00:01"],
        ["0001-01-01T00:00:00+14:00", "20260101T000000Z", "2026-W02-1", "2026-02-01", "9999-12-31T23:59:59-14:00"],
    ],
)
def test_times_stand_in_their_order_whatever_their_form(make_record, moments):
    times = [make_record(created=created).time for created in moments]
    assert times == sorted(times) and len(set(moments)) == len({time.timestamp() for time in times})


def test_a_time_without_an_offset_is_of_utc(make_record):
    assert make_record(created="2026-01-01T00:00:00").time == make_record(created="2026-01-01T01:00:00+01:00").time


def test_a_bound_is_exact_where_its_ends_agree():
    assert Bound(1.0, 1.0 + 1e-9, "exact").is_exact and not Bound(1.0, 1.1, "a relaxation").is_exact
