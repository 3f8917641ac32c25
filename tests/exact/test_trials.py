"""Trials close both ends of the history value, and each end is a bound at every moment."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seqrl_jax.exact.belief import belief_graph, history_policy
from seqrl_jax.exact.bounds import fast_informed_bound, history_interval
from seqrl_jax.exact.budget import Meter, SearchBudget, unseen
from seqrl_jax.exact.controller import evaluate_controller
from seqrl_jax.exact.state import largest_return
from seqrl_jax.exact.trials import by_steps, plans_by_step
from seqrl_jax.tasks import make, validated

LISTED = [
    "locked_doors",
    "peek_maze",
    "tiger",
    "tmaze",
    "heaven_hell",
    "rock_sample",
    "repeat_previous",
    "flicker_grid",
    "mini_hallway",
    "blind_spot",
]


def search_of(task, work=1e9):
    return by_steps(task, fast_informed_bound(task)[1], Meter(SearchBudget(work)))


def exact_of(task):
    return history_policy(belief_graph(task).graph)[0]


@pytest.mark.parametrize("name", LISTED)
def test_the_ends_meet_where_all_beliefs_can_be_listed(name):
    task = make(name)
    tolerance = 1e-6 * largest_return(task)
    search = search_of(task)
    search.close(tolerance, unseen)
    lower, upper = search.ends()
    assert upper - lower <= tolerance
    rounding = 1e-9 * largest_return(task)
    assert lower - rounding <= exact_of(task) <= upper + rounding
    assert evaluate_controller(task, plans_by_step(search)) == pytest.approx(lower, abs=rounding)


@settings(max_examples=25)
@given(seed=st.integers(0, 10_000), scale=st.sampled_from([1e-6, 1.0, 1e9]))
def test_both_ends_hold_after_every_trial_and_never_move_apart(random_task, seed, scale):
    """Random sparse tasks, at any unit of reward."""
    task = random_task(seed, horizon=4)
    task = validated(dataclasses.replace(task, reward=task.reward * scale))
    exact, rounding = exact_of(task), 1e-9 * largest_return(task)
    search = search_of(task)
    before = search.ends()
    for _ in range(20):
        search.trial(1e-9 * scale)
        lower, upper = search.ends()
        assert before[0] - rounding <= lower <= exact + rounding
        assert exact - rounding <= upper <= before[1] + rounding
        before = lower, upper
    assert evaluate_controller(task, plans_by_step(search)) == pytest.approx(before[0], abs=rounding)


@settings(max_examples=25)
@given(seed=st.integers(0, 10_000))
def test_the_upper_bound_holds_at_every_belief(random_task, seed):
    """Not only at the start: by the value of the same task begun in another belief."""
    task, rng = random_task(seed, horizon=3), np.random.default_rng(seed)
    search = search_of(task)
    for _ in range(10):
        search.trial(1e-9)
    belief = rng.dirichlet(np.ones(task.num_states)) * ~task.terminal
    one = np.zeros((task.num_states, task.num_observations))
    one[:, 0] = 1
    begun = validated(dataclasses.replace(task, initial=belief / belief.sum(), initial_observation=one))
    value = exact_of(begun) * belief.sum()
    assert search.points[-1].at(belief[:, None])[0] >= value - 1e-9
    assert search.plans[-1].best(belief[:, None])[0][0] <= value + 1e-9


@pytest.mark.parametrize("tolerance", [1e-2, 3e-2])
@pytest.mark.parametrize("seed", range(5))
def test_a_coarse_tolerance_is_reached(random_task, seed, tolerance):
    """A likely beginning that is good enough must not hide an unlikely one that is not."""
    task = random_task(seed, horizon=5)
    search = search_of(task)
    search.close(tolerance, unseen)
    lower, upper = search.ends()
    assert upper - lower <= tolerance and search.trials < 200


def test_a_reward_that_nobody_can_get_is_no_unit():
    task = make("tiger")
    reward = np.where(task.transition > 0, task.reward, -1e9)
    other = validated(dataclasses.replace(task, reward=reward))
    assert largest_return(other) == largest_return(task)


def test_the_unit_of_reward_changes_nothing():
    """A file in cents has the values of the file in dollars; 1e6 was an AssertionError once."""
    task = make("hidden_market:horizon=5")
    cents = validated(dataclasses.replace(task, reward=task.reward * 1e7))
    (ours, _), (theirs, _) = history_interval(task, limit=10), history_interval(cents, limit=10)
    assert theirs.lower == pytest.approx(ours.lower * 1e7, rel=1e-6)
    assert theirs.upper == pytest.approx(ours.upper * 1e7, rel=1e-6)


def test_a_rover_among_four_rocks_is_solved():
    """Too many beliefs to be listed here, and an interval by grids and point-based plans alone."""
    task = make("rock_sample:size=3,rocks=4,horizon=8")
    interval, controller = history_interval(task, limit=1000)
    assert interval.is_exact and "trials" in interval.method
    assert evaluate_controller(task, controller) == pytest.approx(interval.lower, abs=1e-9)
