import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seqrl_jax.results.bootstrap import resamples_of
from seqrl_jax.results.statistics import (
    Estimate,
    difference,
    estimate,
    iqm,
    mean,
    median,
    optimality_gap,
    over_tasks,
    performance_profile,
    probability_of_improvement,
    proportion,
)
from seqrl_jax.results.task_statistics import value

# [runs, tasks], as rliable takes them.
A = np.array(
    [
        [0.93, 0.12, 0.55, 1.02, -0.10],
        [0.88, 0.47, 0.61, 1.00, 0.05],
        [0.95, 0.08, 0.49, 0.97, 0.31],
        [0.40, 0.22, 0.58, 1.05, 0.00],
        [0.91, 0.35, 0.66, 0.99, -0.05],
        [0.94, 0.51, 0.52, 1.01, 0.20],
        [0.89, 0.10, 0.60, 0.30, 0.12],
    ]
)
B = np.array(
    [
        [0.80, 0.35, 0.55, 0.90, 0.00],
        [0.85, 0.30, 0.65, 0.99, 0.20],
        [0.91, 0.47, 0.40, 0.60, 0.05],
        [0.78, 0.25, 0.57, 0.97, -0.10],
        [0.93, 0.20, 0.62, 1.00, 0.31],
    ]
)


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        (A, (0.5322857142857143, 0.5728571428571428, 0.5463157894736842, 0.46999999999999986)),
        (B, (0.542, 0.558, 0.5576923076923076, 0.45799999999999996)),
    ],
)
def test_aggregates_are_those_of_rliable(scores, expected):
    """As computed by rliable 1.2.0."""
    found = [over_tasks(scores.T, statistic).value for statistic in (mean, median, iqm, optimality_gap)]
    assert found == pytest.approx(expected, abs=1e-12)


def test_probability_of_improvement_is_that_of_rliable():
    """As computed by rliable 1.2.0; the last figure, 1/3, is that of its own tests."""
    assert probability_of_improvement(A.T, B.T).value == pytest.approx(0.5571428571428572, abs=1e-12)
    assert probability_of_improvement(B.T, A.T).value == pytest.approx(0.4428571428571428, abs=1e-12)
    x, y = [[1, 2, 1, 2], [2, 2, 1, 1]], [[1, 2, 3], [1, 2, 3]]
    assert probability_of_improvement(x, y).value == pytest.approx(1 / 3)


def test_the_performance_profile_is_that_of_rliable():
    """As computed by rliable 1.2.0."""
    found = performance_profile(A.T, [-0.05, 0.2, 0.5, 0.55, 0.9, 1.0])
    expected = [33 / 35, 26 / 35, 19 / 35, 16 / 35, 10 / 35, 3 / 35]
    assert [share.value for share in found] == pytest.approx(expected, abs=1e-12)
    assert all(0 <= share.low <= share.value <= share.high <= 1 for share in found)


def test_a_profile_is_each_share_as_if_it_were_the_only_statistic():
    """Also of tasks with other numbers of runs, and at a threshold that runs lie on."""
    tasks = [[0.1, 0.5, 0.5], [0.2, 0.4, 0.9, 0.5], [0.3, 0.3]]
    levels = [0.0, 0.3, 0.5, 0.9]
    for level, share in zip(levels, performance_profile(tasks, levels), strict=True):
        above = lambda sample, level=level: sample.counts @ (sample.runs.values > level) / sample.sizes.sum()
        alone = over_tasks(tasks, above, within=(0.0, 1.0))
        assert (share.value, share.low, share.high) == pytest.approx((alone.value, alone.low, alone.high), abs=1e-12)


def test_an_aggregate_can_hide_tasks_that_another_shows():
    """Three of 16 tasks fail: the interquartile mean is 1, the gap says it."""
    scores = [np.full(5, level) for level in [1.0] * 13 + [0.03, 0.39, 0.63]]
    assert over_tasks(scores, iqm).value == 1.0
    assert over_tasks(scores, optimality_gap).value == pytest.approx((0.97 + 0.61 + 0.37) / 16)


def test_tasks_may_have_different_numbers_of_seeds():
    scores = [[0.0, 1.0], [1.0, 1.0, 1.0, 1.0]]
    assert over_tasks(scores, mean).value == 0.75, "tasks count alike"
    assert over_tasks(scores, iqm).value == 1.0, "runs count alike"
    assert over_tasks(scores, median).value == 0.75


@pytest.mark.parametrize("values", [[2.0], [[2.0]]])
def test_one_value_has_no_interval(values):
    assert estimate(values) == Estimate(2.0, None, None)
    assert estimate(values).as_json() == {"value": 2.0, "low": None, "high": None}


def test_a_task_of_one_seed_leaves_the_aggregate_without_an_interval():
    found = over_tasks([[0.1, 0.2, 0.3], [0.5]], mean)
    assert found.value == pytest.approx(0.35) and found.low is None and found.high is None


@pytest.mark.parametrize("empty", [lambda: estimate([]), lambda: over_tasks([]), lambda: over_tasks([[1.0], []])])
def test_without_values_there_is_no_estimate(empty):
    with pytest.raises(ValueError, match="at least one value"):
        empty()


def test_what_does_not_vary_has_no_width():
    assert estimate([2.0, 2.0, 2.0]) == Estimate(2.0, 2.0, 2.0)
    assert over_tasks([[0.0, 0.0], [1.0, 1.0]], mean) == Estimate(0.5, 0.5, 0.5)


def test_strata_are_resampled_within_themselves():
    """Two tasks far apart, little spread within: pooled resampling would give a wide interval."""
    found = over_tasks([[0.0, 0.1, 0.2, 0.1], [1.0, 1.1, 1.2, 1.1]], mean)
    assert 0.45 < found.low < 0.6 < found.high < 0.75


def test_more_runs_have_fewer_resamples():
    assert resamples_of(5) == resamples_of(500) == 1999
    assert 199 < resamples_of(4000) < 1999
    assert resamples_of(10**6) == 199


def test_the_interval_of_many_seeds_is_the_normal_one():
    values = np.random.default_rng(0).normal(size=400)
    found, error = estimate(values), values.std() / 20
    assert found.low == pytest.approx(values.mean() - 1.96 * error, abs=0.2 * error)
    assert found.high == pytest.approx(values.mean() + 1.96 * error, abs=0.2 * error)


@pytest.mark.parametrize(("seeds", "t"), [(3, 4.303), (5, 2.776), (10, 2.262)])
def test_the_interval_of_few_symmetric_seeds_is_about_students(seeds, t):
    """A percentile bootstrap is .4, .63 and .82 as wide."""
    values = np.linspace(-1, 1, seeds)
    found, error = estimate(values), values.std(ddof=1) / math.sqrt(seeds)
    assert (found.high - found.low) / (2 * t * error) == pytest.approx(1, abs=0.09)


def test_degrees_of_freedom_add_up_over_tasks():
    """16 tasks of 3 seeds have 32, so that the stretch is t / z * sqrt(3 / 2) = 1.27; one task alone has 2 (2.69)."""
    rng = np.random.default_rng(0)
    tasks = [rng.permutation([-1.0, 0.0, 1.0]) for _ in range(16)]
    found = over_tasks(tasks, mean)
    assert (found.high - found.low) / (2 * 1.96 * math.sqrt(2 / 9 / 16)) == pytest.approx(1.27, abs=0.06)


def test_the_interval_can_be_kept_within_what_is_possible():
    values = [1.0, 1.0, 1.0, 1.0, 0.2]
    assert estimate(values).high > 1
    assert estimate(values, within=(0.0, 1.0)).high == 1.0
    assert estimate([1.1, 1.2], within=(0.0, 1.0)).high == pytest.approx(1.15), "never below the estimate itself"


def test_the_same_input_gives_the_same_interval():
    values = [0.1, 0.5, 0.2, 0.9]
    assert estimate(values) == estimate(values)
    assert over_tasks(A.T, iqm) == over_tasks(A.T, iqm)


@settings(max_examples=100)
@given(
    values=st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=12),
    scale=st.floats(0.1, 10),
    shift=st.floats(-10, 10),
)
def test_an_estimate_lies_in_its_interval_and_follows_a_change_of_unit(values, scale, shift):
    found = estimate(values)
    assert found.low <= found.value <= found.high
    moved = estimate([scale * value + shift for value in values])
    expected = [scale * end + shift for end in (found.value, found.low, found.high)]
    assert [moved.value, moved.low, moved.high] == pytest.approx(expected, rel=1e-6, abs=1e-6)


def test_a_paired_difference_sees_what_two_intervals_hide():
    """Seeds differ by 1, the two methods by .1 on each: paired, the difference is clear."""
    rng = np.random.default_rng(0)
    other = [rng.normal(size=5) for _ in range(3)]
    one = [values + 0.1 + 0.01 * rng.normal(size=5) for values in other]
    paired = difference([np.stack(pair, 1) for pair in zip(one, other)])
    assert 0.08 < paired.low < 0.1 < paired.high < 0.12
    assert over_tasks(one, mean).low < over_tasks(other, mean).value, "unpaired, it is not"


def test_improvement_of_a_method_over_itself_is_one_half():
    found = probability_of_improvement(A.T, A.T)
    assert found.value == 0.5 and found.low < 0.5 < found.high
    assert probability_of_improvement([[2.0, 3.0]], [[0.0, 1.0]]).value == 1.0
    with pytest.raises(ValueError, match="2 tasks against 1"):
        probability_of_improvement([[1.0], [2.0]], [[1.0]])


def test_a_large_sample_costs_little():
    """The values of 20,000 examples: resampled in blocks."""
    found = estimate(np.random.default_rng(0).normal(size=20_000))
    assert found.high - found.low == pytest.approx(2 * 1.96 / math.sqrt(20_000), rel=0.1)


def held(draw, truth, statistic, repetitions):
    """The share of tables whose interval holds the truth."""
    found = (over_tasks(draw(), statistic, resamples=999) for _ in range(repetitions))
    return sum(one.low <= truth <= one.high for one in found) / repetitions


SHAPES = {
    "normal": lambda rng, size: rng.normal(size=size),
    "skewed": lambda rng, size: rng.beta(8, 2, size) - 0.8,
    "piled up": lambda rng, size: rng.beta(2, 0.5, size) - 0.8,
    "two modes": lambda rng, size: (rng.random(size) < 0.5) - 0.5 + 0.05 * rng.normal(size=size),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_the_interval_of_ten_seeds_holds_the_mean_in_93_of_100_cases(shape):
    """False-alarm rate, were the seed not fixed: 30,000 repetitions measured a coverage of .939 (piled up) to .986, so
    that 4,000 fall below .93 with chance 1% at most."""
    rng = np.random.default_rng(1)
    assert held(lambda: [SHAPES[shape](rng, 10)], 0.0, mean, 4000) >= 0.93


@pytest.mark.parametrize("statistic", [mean, iqm])
def test_over_tasks_it_does_so_too(statistic):
    """8 tasks of two shapes, ten seeds. False-alarm rate, were the seed not fixed: coverage is about .95, so that 1,000
    repetitions fall below .93 with chance .2%."""
    rng = np.random.default_rng(2)
    levels, shapes = np.linspace(0.2, 0.9, 8), [SHAPES["normal"], SHAPES["piled up"]] * 4
    draw = lambda size: [level + 0.2 * shape(rng, size) for level, shape in zip(levels, shapes)]
    truth = value(statistic, draw(200_000))
    assert held(lambda: draw(10), truth, statistic, 1000) >= 0.93


def test_a_proportion_has_wilson_s_interval():
    """Newcombe (1998, Stat. Med. 17, table I): 81 of 263, 15 of 148, 0 of 20 and 1 of 29."""
    published = {
        (81, 263): (0.2553, 0.3662),
        (15, 148): (0.0624, 0.1605),
        (0, 20): (0, 0.1611),
        (1, 29): (0.0061, 0.1718),
    }
    for (successes, trials), ends in published.items():
        interval = proportion([1.0] * successes + [0.0] * (trials - successes))
        assert (interval.low, interval.high) == pytest.approx(ends, abs=5e-5)
    assert proportion([1.0]) == Estimate(1.0, None, None)
    with pytest.raises(ValueError, match="at least one value"):
        proportion([])


def test_numbers_whose_sums_overflow_are_refused():
    for values in ([1e308, 1.7e308], [-1.7e308, 1.7e308, 0.0]):
        with pytest.raises(ValueError, match="beyond 1e"):
            estimate(values)


def test_what_is_no_number_is_refused():
    for values in ([math.nan], [0.0, math.nan, 1.0], [math.inf, 0.0]):
        with pytest.raises(ValueError, match="no number"):
            estimate(values)
        with pytest.raises(ValueError, match="no number"):
            over_tasks([[0.0, 1.0], values])
        with pytest.raises(ValueError, match="within"):
            proportion(values)
    with pytest.raises(ValueError, match="within"):
        proportion([0.5, 1.5])
