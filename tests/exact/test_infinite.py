"""Without a horizon both ends close on values that closed forms, finite horizons and published solvers give."""

import dataclasses
import json
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from seqrl_jax.exact.bounds import history_interval
from seqrl_jax.exact.budget import Meter, SearchBudget, unseen
from seqrl_jax.exact.controller import controller_from_map, evaluate_controller, evaluate_infinite_controller
from seqrl_jax.exact.graph import state_graph
from seqrl_jax.exact.infinite import (
    infinite_history_interval,
    infinite_informed_bound,
    infinite_policy_value,
    infinite_search,
    infinite_state_values,
    largest_infinite_return,
)
from seqrl_jax.exact.solve import VALUES, solve_infinite
from seqrl_jax.exact.state import evaluate_memoryless, start_value, state_values
from seqrl_jax.tasks import make, read_pomdp, validated
from seqrl_jax.tasks.tabular import with_discount, with_horizon

FILES = Path(__file__).parents[3] / "shared" / "pomdp"
PUBLISHED = {
    "tiger.95": 19.3714,
    "tiger.aaai": 1.93343,
    "1d": 1.26034,
    "cheese.95": 3.48621,
    "shuttle.95": 32.8897,
    "tiger-alt-start": 3.77019,
}


def long(task):
    """The task over so many steps that nothing is left to win: what is beyond counts 1e-9 of the largest return."""
    return with_horizon(task, int(np.ceil(np.log(1e-9) / np.log(task.discount))))


@pytest.mark.parametrize("seed", range(6))
def test_values_are_those_of_a_long_horizon(random_task, seed):
    """By other routines: recursion over the states and over time."""
    task = with_discount(random_task(seed), 0.6)
    scale, far = largest_infinite_return(task), long(task)
    solution = solve_infinite(task, SearchBudget(2e9))
    values = solution.values
    assert values["state"].lower == pytest.approx(start_value(far, state_values(far)[0]), abs=1e-8 * scale)
    for name, policy in (
        ("memoryless_deterministic", solution.deterministic),
        ("memoryless_stochastic", solution.stochastic),
    ):
        assert values[name].lower == pytest.approx(float(evaluate_memoryless(far, policy)), abs=1e-8 * scale)
    lower, upper = values["history"].lower, values["history"].upper
    assert upper - lower <= 1e-3 * scale
    assert evaluate_controller(far, solution.history) == pytest.approx(lower, abs=1e-8 * scale)
    interval, _ = history_interval(with_horizon(task, 6), limit=20_000)
    beyond = task.discount**6 * scale
    assert lower - beyond <= interval.upper and interval.lower <= upper + beyond


@settings(max_examples=10)
@example(seed=315, scale=1e-6)
@given(seed=st.integers(0, 10_000), scale=st.sampled_from([1e-6, 1e9]))
def test_the_ends_never_cross_nor_move_apart_and_settled_bounds_hold(random_task, seed, scale):
    task = with_discount(random_task(seed), 0.8)
    task = validated(dataclasses.replace(task, reward=task.reward * scale))
    search, rounding = infinite_search(task, Meter(SearchBudget())), 1e-9 * largest_infinite_return(task)
    before = search.ends()
    for step in range(8):
        search.settle() if step % 4 == 3 else search.trial(1e-6 * scale)
        lower, upper = search.ends()
        assert before[0] - rounding <= lower <= upper + rounding <= before[1] + 2 * rounding
        before = lower, upper
    # What is known of a few steps, and no more than the rest can pay.
    exact, _ = history_interval(with_horizon(task, 4), limit=20_000)
    beyond = task.discount**4 * largest_infinite_return(task)
    assert before[0] <= exact.upper + beyond and exact.lower - beyond <= before[1]


def test_a_reward_at_every_step_is_worth_a_geometric_sum():
    """Who only listens for the tiger pays 1 a step: -1 / (1 - 0.95)."""
    task = with_discount(make("tiger"), 0.95)
    listen = controller_from_map(np.full(task.num_observations, task.actions.index("listen")))
    lower, upper = evaluate_infinite_controller(task, listen, 1e-9)
    assert lower <= -20 <= upper and upper - lower <= 1e-9
    policy = np.eye(task.num_actions)[listen.action]
    assert infinite_policy_value(state_graph(task), policy) == pytest.approx(-20)


def test_the_informed_bound_lies_between_history_and_state():
    task = with_discount(make("tmaze"), 0.9)
    _, joint = task.kernel.first
    informed = (joint @ infinite_informed_bound(task).T).max(1).sum()
    interval, _ = infinite_history_interval(task, Meter(SearchBudget(1e9)), unseen)
    state = float(task.initial @ infinite_state_values(task)[1])
    assert interval.upper <= informed + 1e-9 and informed <= state + 1e-9


def test_a_maze_that_ends_is_solved_without_its_horizon():
    """The T-maze ends by itself: over its own horizon an optimal policy has long left it."""
    task = with_discount(make("tmaze:length=3"), 0.9)
    interval, _ = infinite_history_interval(task, Meter(SearchBudget()), unseen)
    exact, _ = history_interval(task)
    assert interval.is_exact and interval.lower == pytest.approx(exact.lower, abs=1e-6)


def test_all_five_values_are_told_in_order():
    solution = solve_infinite(with_discount(make("peek_maze"), 0.9))
    assert list(solution.values) == list(VALUES)
    history = solution.values["history"]
    assert history.lower >= solution.values["memoryless_stochastic"].lower
    assert history.upper <= solution.values["state"].upper
    json.dumps([dataclasses.asdict(value) for value in solution.values.values()], allow_nan=False)


def test_without_discount_there_is_no_such_value():
    with pytest.raises(ValueError, match="needs a discount below 1"):
        solve_infinite(with_discount(make("tiger"), 1.0))


@pytest.mark.skipif(not FILES.is_dir(), reason="the sample files are not part of the package")
@pytest.mark.parametrize("name", PUBLISHED)
def test_published_values_lie_within_the_ends(name):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        task = read_pomdp(FILES / f"{name}.POMDP", 10)
    interval, _ = infinite_history_interval(task, Meter(SearchBudget()), unseen)
    assert interval.gap < 1e-4 and interval.lower == pytest.approx(PUBLISHED[name], rel=1e-5)
