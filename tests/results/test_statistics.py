import numpy as np
import pytest

from seqrl_jax.results.statistics import (
    exceeds_optimum,
    interval,
    iqm,
    memory_score,
    normalised,
    stratified_interval,
)


def test_the_interquartile_mean_is_the_mean_of_the_middle_half():
    values = np.random.default_rng(0).normal(size=40)
    assert iqm(values) == pytest.approx(np.sort(values)[10:30].mean())
    assert iqm([1.0, 2.0, 3.0]) == 2.0


def test_the_interval_of_a_mean_is_close_to_the_normal_one():
    values = np.random.default_rng(0).normal(size=400)
    low, high = interval(values)
    error = values.std() / 20
    assert low == pytest.approx(values.mean() - 1.96 * error, abs=0.2 * error)
    assert high == pytest.approx(values.mean() + 1.96 * error, abs=0.2 * error)


@pytest.mark.parametrize("values", [[2.0], [2.0, 2.0, 2.0]])
def test_what_does_not_vary_has_no_width(values):
    assert interval(values) == (2.0, 2.0)


def test_strata_are_resampled_within_themselves():
    """Two tasks far apart, no spread within: pooled resampling would give a wide interval, this gives a point."""
    assert stratified_interval([[0.0, 0.0], [1.0, 1.0]]) == (0.5, 0.5)
    low, high = stratified_interval([[0.0, 0.1, 0.2, 0.1], [1.0, 1.1, 1.2, 1.1]])
    assert 0.5 < low < 0.6 < high < 0.7


def test_the_same_seed_gives_the_same_interval():
    values = [0.1, 0.5, 0.2, 0.9]
    assert interval(values) == interval(values)


def test_scores_stand_between_the_certified_values():
    assert normalised(0.3, random=0.1, history=0.5) == pytest.approx(0.5)
    assert memory_score(0.1, memoryless_stochastic=0.3, history=0.5) == pytest.approx(-1)
    assert normalised(0.3, random=0.5, history=0.5) is None


def test_a_score_above_the_proven_optimum_is_found(make_cell):
    assert exceeds_optimum(make_cell()) is None
    assert "above the proven bound 0.5 (memoryless_stochastic)" in exceeds_optimum(make_cell(scores=[0.1, 0.5001, 0.2]))
    assert exceeds_optimum(make_cell(scores=[0.1, 0.5001, 0.2], memoryless=False)) is None
    assert "(history)" in exceeds_optimum(make_cell(scores=[0.1, 1.0001, 0.2], memoryless=False))


def test_chance_alone_is_not_taken_for_a_proof(make_cell):
    """Simulated at the optimum 1 with standard error .01: never found in 2,000 draws; .1 above it always found."""
    rng = np.random.default_rng(0)
    simulated = {"memoryless": False, "evaluation": "1000 episodes", "standard_errors": [0.01] * 3}
    at = [make_cell(scores=1 + 0.01 * rng.normal(size=3), **simulated) for _ in range(2000)]
    assert not any(exceeds_optimum(cell) for cell in at)
    above = [make_cell(scores=1.1 + 0.01 * rng.normal(size=3), **simulated) for _ in range(100)]
    assert all(exceeds_optimum(cell) for cell in above)
