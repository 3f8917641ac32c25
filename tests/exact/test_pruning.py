"""Incremental pruning keeps what is best somewhere: the value is that of all beliefs, listed."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seqrl_jax.exact.belief import belief_graph, history_policy
from seqrl_jax.exact.bounds import bounded_interval, history_interval
from seqrl_jax.exact.budget import DEFAULT, Meter, OverBudget, SearchBudget, unseen
from seqrl_jax.exact.controller import evaluate_controller
from seqrl_jax.exact.pruning import TOLERANCE, pruned_controller
from seqrl_jax.exact.state import largest_return
from seqrl_jax.tasks import make, validated


@settings(max_examples=25)
@given(seed=st.integers(0, 10_000), scale=st.sampled_from([1e-6, 1.0, 1e9]))
def test_the_ends_hold_the_exact_value_at_any_unit(random_task, seed, scale):
    task = random_task(seed, horizon=4)
    task = validated(dataclasses.replace(task, reward=task.reward * scale))
    exact, unit = history_policy(belief_graph(task).graph)[0], largest_return(task)
    upper, controller = pruned_controller(task, Meter(DEFAULT))
    lower = evaluate_controller(task, controller)
    assert lower - 1e-12 * unit <= exact <= upper + 1e-12 * unit
    assert upper - lower <= TOLERANCE * unit


def _dense(horizon):
    """Three states that no observation tells apart, in which every history leaves another belief."""
    rng = np.random.default_rng(1)
    task = make("tiger")
    sizes = {"states": "abc", "actions": "xyz", "observations": "uvw"}
    return validated(
        dataclasses.replace(
            task,
            initial=rng.dirichlet(np.ones(3)),
            initial_observation=rng.dirichlet(np.ones(3), 3),
            transition=rng.dirichlet(np.full(3, 0.5), (3, 3)),
            observation=rng.dirichlet(np.full(3, 0.5), (3, 3)),
            reward=rng.normal(size=(3, 3, 3)),
            terminal=np.zeros(3, bool),
            discount=0.95,
            horizon=horizon,
            name="dense",
            **{name: tuple(letters) for name, letters in sizes.items()},
        )
    )


def test_a_task_of_few_states_is_exact_though_its_beliefs_cannot_be_listed():
    task = _dense(horizon=15)
    assert belief_graph(task, limit=100_000) is None
    interval, controller = history_interval(task, limit=1000)
    assert "incremental pruning" in interval.method and interval.upper - interval.lower < 1e-6 * largest_return(task)
    assert evaluate_controller(task, controller) == pytest.approx(interval.lower)
    fewer = _dense(horizon=5)
    exact = history_policy(belief_graph(fewer).graph)[0]
    assert pruned_controller(fewer, Meter(DEFAULT))[0] == pytest.approx(exact, abs=1e-6)


@pytest.mark.parametrize("budget", [SearchBudget(work=1e5), SearchBudget(memory=1000), SearchBudget(seconds=1e-6)])
def test_what_does_not_fit_into_the_budget_is_given_up(budget):
    with pytest.raises(OverBudget):
        pruned_controller(_dense(horizon=30), Meter(budget))


def test_what_is_too_much_is_refused_and_no_more_is_spent_than_there_is():
    with pytest.raises(OverBudget):
        pruned_controller(make("mini_hallway"), Meter(DEFAULT))
    meter = Meter(SearchBudget(work=1e8))
    bounded_interval(_dense(horizon=30), meter, unseen)
    # A search ends with the trial, and pruning with the set, that was one too many.
    assert meter.spent() < 3


def test_a_single_step_needs_no_look_ahead():
    task = _dense(horizon=1)
    upper, controller = pruned_controller(task, Meter(DEFAULT))
    best = task.kernel.first[1] @ task.kernel.reward.T
    assert upper == pytest.approx(best.max(1).sum()) == evaluate_controller(task, controller)


def test_an_episode_that_ends_at_once_needs_one_plan():
    """No observation follows any action."""
    task = _dense(horizon=4)
    ended = np.arange(3) == 2
    task = validated(
        dataclasses.replace(
            task,
            initial=np.array([0.4, 0.6, 0]),
            transition=np.tile(ended * 1.0, (3, 3, 1)),
            terminal=ended,
            reward=np.where(ended[:, None], 0, task.reward),
        )
    )
    upper, controller = pruned_controller(task, Meter(DEFAULT))
    best = task.kernel.first[1] @ task.kernel.reward.T
    assert upper == pytest.approx(best.max(1).sum())
    assert evaluate_controller(task, controller) == pytest.approx(upper)
