"""Closed forms of leaving a run out against leaving it out."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqrl_jax.results.statistics import estimate, estimates, over_tasks
from seqrl_jax.results.task_statistics import (
    CLOSED_FORMS,
    improvement,
    iqm,
    mean,
    median,
    optimality_gap,
    without_each,
    without_groups,
)

SCORES = st.lists(
    st.lists(st.sampled_from([-1.0, 0.0, 0.25, 0.5, 0.5001, 1.0, 1.5]) | st.floats(-2, 2), min_size=2, max_size=6),
    min_size=1,
    max_size=7,
)


@pytest.mark.parametrize("statistic", [mean, median, iqm, optimality_gap])
@given(tasks=SCORES)
def test_a_closed_form_is_the_statistic_without_each_run(statistic, tasks):
    samples = [np.array(task) for task in tasks]
    assert statistic in CLOSED_FORMS
    for task, found in enumerate(without_each(samples, statistic)):
        np.testing.assert_allclose(found, without_groups(samples, task, statistic), rtol=0, atol=1e-12)


@pytest.mark.parametrize("statistic", [mean, median, iqm, optimality_gap])
@pytest.mark.parametrize(("tasks", "seeds"), [(1, 2), (3, 5), (16, 10)])
def test_tasks_of_as_many_runs_are_computed_at_once_to_the_same_bits(statistic, tasks, seeds):
    array = np.random.default_rng(tasks).normal(size=(tasks, seeds))
    assert statistic(array) == statistic(list(array))
    assert np.array_equal(without_each(array, statistic), without_each(list(array), statistic))


@given(tasks=SCORES, others=SCORES)
def test_the_closed_form_of_improvement_is_that_without_each_run(tasks, others):
    half = min(len(tasks), len(others))
    samples = [np.array(task) for task in [*tasks[:half], *others[:half]]]
    for task, found in enumerate(without_each(samples, improvement)):
        np.testing.assert_allclose(found, without_groups(samples, task, improvement), rtol=0, atol=1e-12)


def test_a_statistic_without_a_closed_form_is_computed_again():
    samples = [np.array([0.0, 1.0, 5.0]), np.array([2.0, 2.0])]
    largest = lambda samples: np.max([sample.max(-1) for sample in samples], 0)
    assert [part.tolist() for part in without_each(samples, largest)] == [[5.0, 5.0, 2.0], [5.0, 5.0]]


def test_many_cells_at_once_are_each_as_alone():
    rng = np.random.default_rng(1)
    cells = [rng.normal(size=size) for size in (5, 3, 5, 1, 10, 150, 5)] + [np.full(4, 0.5)]
    within = [(-np.inf, 0.1), *[(-np.inf, np.inf)] * 7]
    found = estimates(cells, within)
    for cell, possible, one in zip(cells, within, found, strict=True):
        assert estimate(cell, possible).value == pytest.approx(one.value)
        alone = over_tasks([cell], mean, possible)
        for end, expected in ((one.value, alone.value), (one.low, alone.low), (one.high, alone.high)):
            assert end == (expected if expected is None else pytest.approx(expected, abs=1e-12))
    assert found[3].low is None and found[-1].low == found[-1].high == 0.5
    assert estimates([]) == []


def test_more_cells_than_a_block_holds_are_still_each_their_own():
    cells = np.random.default_rng(2).normal(size=(2500, 2))
    found = estimates(cells)
    assert [one.value for one in found] == pytest.approx(cells.mean(1))
    assert found[2400] == estimate(cells[2400])


@pytest.mark.parametrize("empty", [[[]], [[1.0, 2.0], []]])
def test_a_cell_without_values_is_refused(empty):
    with pytest.raises(ValueError, match="at least one value"):
        estimates(empty)
