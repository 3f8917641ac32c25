"""Closed forms of leaving a run out against leaving it out."""

import weakref

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqrl_jax.garbage import uncollected
from seqrl_jax.results.statistics import estimate, estimates, over_tasks
from seqrl_jax.results.task_statistics import (
    CLOSED_FORMS,
    Counted,
    Runs,
    improvement,
    iqm,
    mean,
    median,
    once,
    optimality_gap,
    value,
    without_each,
    without_groups,
)

SCORES = st.lists(
    st.lists(st.sampled_from([-1.0, 0.0, 0.25, 0.5, 0.5001, 1.0, 1.5]) | st.floats(-2, 2), min_size=2, max_size=6),
    min_size=1,
    max_size=7,
)


def left_out(runs, statistic):
    """[runs] the statistic without each, one after the other."""
    return np.concatenate([statistic(without_groups(runs, task)) for task in range(len(runs.sizes))], -1)


@pytest.mark.parametrize("statistic", [mean, median, iqm, optimality_gap])
@given(tasks=SCORES)
def test_a_closed_form_is_the_statistic_without_each_run(statistic, tasks):
    runs = Runs.of(tasks)
    assert statistic in CLOSED_FORMS
    np.testing.assert_allclose(without_each(runs, statistic), left_out(runs, statistic), rtol=0, atol=1e-12)


@given(tasks=SCORES, others=SCORES)
def test_the_closed_form_of_improvement_is_that_without_each_run(tasks, others):
    half = min(len(tasks), len(others))
    runs = Runs.of([*tasks[:half], *others[:half]])
    np.testing.assert_allclose(without_each(runs, improvement), left_out(runs, improvement), rtol=0, atol=1e-12)


@pytest.mark.parametrize("statistic", [mean, median, iqm, optimality_gap, improvement])
@given(data=st.data(), tasks=SCORES.filter(lambda tasks: len(tasks) % 2 == 0))
def test_a_run_that_counts_twice_is_one_that_is_there_twice(statistic, data, tasks):
    """Every task's runs are drawn from themselves, as the bootstrap draws them."""
    runs = Runs.of(tasks)
    places = [data.draw(st.lists(st.integers(0, len(t) - 1), min_size=len(t), max_size=len(t))) for t in tasks]
    counts = np.concatenate([np.bincount(drawn, minlength=len(task)) for drawn, task in zip(places, tasks)])
    drawn_again = [[task[place] for place in drawn] for drawn, task in zip(places, tasks)]
    found = statistic(Counted(runs, counts[None], runs.sizes))
    np.testing.assert_allclose(found, value(statistic, drawn_again), rtol=0, atol=1e-12)


def test_a_statistic_without_a_closed_form_is_computed_again():
    runs = Runs.of([[0.0, 1.0, 5.0], [2.0, 2.0]])
    largest = lambda sample: np.where(sample.counts > 0, sample.runs.values, -np.inf).max(-1)
    assert largest(once(runs)).tolist() == [5.0]
    assert without_each(runs, largest).tolist() == [5.0, 5.0, 2.0, 5.0, 5.0]


@pytest.mark.parametrize("statistic", [mean, median, iqm, optimality_gap, improvement])
def test_a_sample_is_gone_with_its_last_name(statistic):
    """Large ones would wait for a collector that is off."""
    sample = once(Runs.of([[0.0, 1.0], [0.5, 0.5]]))
    gone = weakref.ref(sample)
    with uncollected():
        statistic(sample)
        del sample
        assert gone() is None


def test_a_task_that_does_not_move_leaves_what_is_drawn_of_the_others_as_it_is():
    """Nor does it matter whether tasks have as many runs."""
    rng = np.random.default_rng(3)
    tasks = [rng.normal(size=size) for size in (4, 4, 7, 3)]
    between = [tasks[0], np.full(5, 0.1), *tasks[1:]]
    alone, found = over_tasks(tasks, mean), over_tasks(between, mean)
    width = lambda estimate: estimate.high - estimate.low
    assert width(found) == pytest.approx(width(alone) * 4 / 5)


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
