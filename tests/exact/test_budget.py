"""Budgets are spent by work or by time, and a larger one covers a smaller one."""

import pytest

from seqrl_jax.exact.budget import Meter, OverBudget, SearchBudget


def test_a_part_has_its_own_work_and_a_share_of_the_seconds_that_are_left():
    now = [0.0]
    clock = lambda: now[0]
    whole = Meter(SearchBudget(seconds=10.0), clock)
    now[0] = 4.0
    assert not whole.late() and whole.late(0.3)
    part = whole.part(7.0, 0.5)
    now[0] = 6.9
    assert not part.late()
    now[0] = 7.1
    assert part.late() and not whole.late()
    now[0] = 11.0
    assert whole.part(7.0).spent() == 0
    now[0] = 11.1
    assert whole.part(7.0).budget.seconds > 0
    assert Meter(SearchBudget(100.0)).part(7.0).budget == SearchBudget(7.0)


def test_work_counts_unless_seconds_are_given():
    now = [0.0]
    by_work, by_time = (
        Meter(budget, lambda: now[0]) for budget in (SearchBudget(100.0), SearchBudget(100.0, seconds=10.0))
    )
    now[0] = 5.0
    by_work.work = by_time.work = 25.0
    assert by_work.spent() == 0.25 and by_time.spent() == 0.5
    now[0] = 11.0
    by_work.stop_if_late()
    with pytest.raises(OverBudget):
        by_time.stop_if_late()


def test_what_was_spent_covers_no_more_than_itself():
    assert SearchBudget(10.0).covers(SearchBudget(5.0)) and not SearchBudget(5.0).covers(SearchBudget(10.0))
    assert not SearchBudget(memory=5).covers(SearchBudget(memory=10))
    timed = SearchBudget(seconds=20.0).spent
    assert timed.covers(SearchBudget(seconds=5.0)) and not timed.covers(SearchBudget())
    both = timed.joined(SearchBudget())
    assert (
        both.covers(SearchBudget())
        and both.covers(SearchBudget(seconds=20.0))
        and not both.covers(SearchBudget(seconds=21.0))
    )
