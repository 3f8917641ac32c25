import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from seqrl_jax.results.record import Bound, Curve
from seqrl_jax.results.scores import between, counted, exceeds_bound, proves_above, scale_ends, scaled_counted
from seqrl_jax.results.statistics import estimate

FAILED = "its weights were not finite"


def proves(record, metric, bound):
    finished = record.finished(metric)
    return proves_above([record], metric, bound, [estimate(finished) if finished else None])[0]


def test_a_score_is_0_at_one_bound_and_1_at_the_other():
    assert between(0.3, 0.1, 0.5) == pytest.approx(0.5)
    assert between(0.1, 0.3, 0.5) == pytest.approx(-1)


def bounds(**ends):
    return {name: Bound(lower, upper, "by hand") for name, (lower, upper) in ends.items()}


@pytest.mark.parametrize(
    ("proved", "ends"),
    [
        ({"zero": (0.1, 0.1), "one": (0.5, 0.5)}, (0.1, 0.5)),
        ({"zero": (0.1, 0.2), "one": (0.5, 0.9)}, (0.1, 0.5)),
        ({"zero": (0.5, 0.5), "one": (0.5, 0.5)}, None),
        ({"zero": (0.5, 0.5), "one": (0.1, 0.1)}, None),
        ({"zero": (0.1, 0.1)}, None),
        ({"one": (0.1, 0.1)}, None),
    ],
    ids=["exact", "intervals apart", "equal", "in the wrong order", "without one", "without zero"],
)
def test_a_scale_has_the_lower_ends_of_its_bounds(proved, ends):
    assert scale_ends(bounds(**proved), "zero", "one") == ends


def test_bounds_that_may_be_equal_make_no_scale():
    """That .5 exceeds .1 is not proved while the lower one may be as much as .5."""
    assert scale_ends(bounds(zero=(0.1, 0.5), one=(0.5, 0.6)), "zero", "one") is None
    assert scale_ends(bounds(zero=(0.1, 0.4), one=(0.5, 0.6)), "zero", "one") == (0.1, 0.5)


def test_a_gap_that_is_a_small_share_of_what_is_proved_makes_no_scale():
    """.25% of the reach, 10, is .025; without the other bounds the same gap is all there is."""
    far = {"random": (-9.0, -9.0), "state": (0.9, 1.0)}
    assert scale_ends(bounds(zero=(0.5, 0.5), one=(0.524, 0.524), **far), "zero", "one") is None
    assert scale_ends(bounds(zero=(0.5, 0.5), one=(0.526, 0.526), **far), "zero", "one") == (0.5, 0.526)
    assert scale_ends(bounds(zero=(0.5, 0.5), one=(0.524, 0.524)), "zero", "one") == (0.5, 0.524)


def test_a_scale_is_left_out_whatever_the_unit_of_return():
    for unit in (1e-3, 1.0, 1e6):
        ends = {"random": (-9 * unit, -9 * unit), "zero": (0.5 * unit, 0.5 * unit), "state": (unit, unit)}
        gaps = [scale_ends(bounds(one=(gap * unit,) * 2, **ends), "zero", "one") is None for gap in (0.524, 0.526)]
        assert gaps == [True, False], unit


def test_a_metric_stands_between_the_lower_ends(make_record):
    record = make_record(metrics={"return": [0.2, 0.5, 1.0]})
    assert scaled_counted(record, "return", "random", "history", record.bounds) == [0.2, 0.5, 1.0]
    assert scaled_counted(record, "return", "memoryless_stochastic", "history", record.bounds) == pytest.approx(
        [-1 / 3, 1 / 6, 1.0]
    )
    assert scaled_counted(record, "return", "random", "optimum", record.bounds) is None
    assert scaled_counted(record, "reward", "random", "history", record.bounds) is None
    assert scaled_counted(record, "return", "history", "history", record.bounds) is None


def test_a_failed_seed_counts_as_the_random_policy(make_record):
    record = make_record(metrics={"return": [0.2, None, 1.0]}, failures={"1": FAILED})
    assert counted(record, "return", record.bounds.get("random")) == [0.2, 0.0, 1.0]
    assert scaled_counted(record, "return", "random", "history", record.bounds) == [0.2, 0.0, 1.0]
    assert counted(record, "return", record.bounds.get("no such bound")) == [0.2, None, 1.0]
    assert counted(record, "reward", record.bounds.get("random")) is None
    assert scaled_counted(record, "return", "random", "no such bound", record.bounds) is None


def test_a_failed_seed_counts_as_the_worst_it_showed_where_that_is_worse(make_record):
    curve = {"return": Curve("environment steps", [0.0, 100.0], [[0.0, -3.0, 0.0], [0.2, None, 0.4]])}
    failing = {"metrics": {"return": [0.2, None, 1.0]}, "failures": {"1": FAILED}}
    zero = make_record().bounds["random"]
    assert counted(make_record(curves=curve, **failing), "return", zero) == [0.2, -3.0, 1.0]
    worse = {**failing, "metrics": {"return": [-4.0, None, 1.0]}}
    assert counted(make_record(curves=curve, **worse), "return", zero) == [-4.0, -4.0, 1.0]


@settings(max_examples=200)
@given(
    scores=st.lists(st.floats(-3, 3), min_size=2, max_size=6),
    failing=st.sets(st.integers(0, 5)),
    where=st.floats(-2, 2),
)
def test_diverging_never_makes_a_method_rise(make_record, scores, failing, where):
    """Any seeds of a run diverge after its last evaluation: no seed counts for more than before."""
    count = len(scores)
    failing = {index for index in failing if index < count}
    shared = {
        "seeds": list(range(count)),
        "standard_errors": {},
        "episodes": [None] * count,
        "bounds": {"random": Bound(where, where, "exact"), "history": Bound(where + 1, where + 1, "exact")},
    }
    curves = {"return": Curve("environment steps", [0.0, 1.0], [[0.0] * count, scores])}
    whole = make_record(metrics={"return": scores}, curves=curves, **shared)
    left = [None if index in failing else score for index, score in enumerate(scores)]
    broken = make_record(
        metrics={"return": left}, curves=curves, failures={str(index): FAILED for index in failing}, **shared
    )
    before, after = (scaled_counted(record, "return", "random", "history", record.bounds) for record in (whole, broken))
    assert len(after) == count and all(one <= two + 1e-9 for one, two in zip(after, before))


def test_a_score_above_the_proven_bound_is_an_error(make_record):
    assert exceeds_bound(make_record(), "return") is None
    above = make_record(metrics={"return": [0.1, 1.0001, 0.2]})
    expected = "ppo on tmaze:length=10: a seed scores 1.0001, above the proven bound 1 (history)"
    assert exceeds_bound(above, "return").startswith(expected)
    memoryless = {"bounded_by": ["history", "memoryless_stochastic"]}
    assert exceeds_bound(make_record(metrics={"return": [0.1, 0.45, 0.2]}, **memoryless), "return") is None
    low = make_record(metrics={"return": [0.1, 0.5001, 0.2]}, **memoryless)
    assert "above the proven bound 0.5 (memoryless_stochastic)" in exceeds_bound(low, "return")


def test_what_is_not_bounded_or_not_there_proves_nothing(make_record):
    above = {"metrics": {"return": [9.0, 9.0, 9.0]}}
    assert exceeds_bound(make_record(bounded_by=[], **above), "return") is None
    assert exceeds_bound(make_record(**above), "claim") is None
    every = {str(seed): FAILED for seed in range(3)}
    assert exceeds_bound(make_record(metrics={"return": [None] * 3}, failures=every), "return") is None


def test_sampled_seeds_without_standard_errors_are_not_judged(make_record):
    sampled = {"metrics": {"return": [9.0, 9.0, 9.0]}, "episodes": [1000] * 3}
    assert exceeds_bound(make_record(standard_errors={"return": [0.01, None, 0.01]}, **sampled), "return") is None
    assert exceeds_bound(make_record(standard_errors={}, **sampled), "return") is None
    assert exceeds_bound(make_record(standard_errors={"return": [0.01] * 3}, **sampled), "return") is not None


def test_chance_alone_is_not_taken_for_a_proof(make_record):
    """Sampled at the optimum 1 with standard error .01: never found in 2,000 draws; .1 above it always found."""
    rng = np.random.default_rng(0)
    sampled = {"episodes": [1000] * 3, "standard_errors": {"return": [0.01] * 3}}
    draw = lambda mean: make_record(metrics={"return": (mean + 0.01 * rng.normal(size=3)).tolist()}, **sampled)
    assert not any(exceeds_bound(draw(1.0), "return") for _ in range(2000))
    assert all(exceeds_bound(draw(1.1), "return") for _ in range(100))


def test_rare_losses_that_did_not_occur_are_no_proof(make_record):
    """100 episodes without spread, just above the bound: losses of the reach, 2, could hide in 1 of 7 of them."""
    few = {"episodes": [100, None, None], "standard_errors": {"return": [0.0, None, None]}}
    lone = lambda score: make_record(metrics={"return": [score, None, None]}, **few)
    assert exceeds_bound(lone(1.2), "return") is None
    assert exceeds_bound(lone(1.0 + 15 / 100 * 2 + 0.01), "return") is not None


def test_memory_is_proved_above_the_upper_end_only(make_record):
    """memoryless_stochastic is [.4, .5]."""
    scores = lambda *values: make_record(metrics={"return": list(values)})
    assert proves(scores(0.61, 0.62, 0.63), "return", "memoryless_stochastic")
    assert not proves(scores(0.44, 0.45, 0.46), "return", "memoryless_stochastic")
    assert not proves(scores(0.45, 0.55, 0.9), "return", "memoryless_stochastic"), "three seeds far apart"
    assert not proves(scores(0.5, 0.5, 0.5), "return", "memoryless_stochastic")
    assert not proves(scores(0.61, 0.62, 0.63), "return", "no such bound")
    assert not proves(scores(0.61, 0.62, 0.63), "reward", "memoryless_stochastic")


def test_a_failed_seed_counts_against_the_proof(make_record):
    failing = make_record(metrics={"return": [0.61, None, 0.61]}, failures={"1": FAILED})
    assert not proves(failing, "return", "memoryless_stochastic")


def test_many_records_are_judged_each_as_alone(make_record):
    """Those with failed seeds among them."""
    failed = lambda *values: make_record(metrics={"return": list(values)}, failures={"1": FAILED})
    records = [
        make_record(metrics={"return": [0.61, 0.62, 0.63]}),
        failed(0.61, None, 0.61),
        failed(0.9, None, None),
        make_record(metrics={"return": [0.44, 0.45, 0.46]}),
        failed(0.9, None, 0.9),
    ]
    bound = "memoryless_stochastic"
    alone = [proves(record, "return", bound) for record in records]
    assert proves_above(records, "return", bound, [estimate(r.finished("return")) for r in records]) == alone
    assert alone[:2] == [True, False]


def test_one_seed_proves_nothing(make_record):
    single = {"seeds": [0], "standard_errors": {}, "episodes": [None], "curves": {}}
    assert not proves(make_record(metrics={"return": [0.9]}, **single), "return", "memoryless_stochastic")


@settings(max_examples=100)
@given(J=st.floats(-1e6, 1e6), zero=st.floats(-1e3, 1e3), width=st.floats(1e-3, 1e3))
def test_scores_follow_a_change_of_unit(J, zero, width):
    assume(math.isfinite(J))
    score = between(J, zero, zero + width)
    assert between(2 * J + 1, 2 * zero + 1, 2 * (zero + width) + 1) == pytest.approx(score, rel=1e-6, abs=1e-6)
