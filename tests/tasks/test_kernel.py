"""The lists of what can happen are the tables of the task."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seqrl_jax.exact.graph import policy_values, state_graph, timed_policy_value
from seqrl_jax.tasks import TASKS, make


def law_of(task):
    """[A, S, S', O']: P(s', o', the episode goes on | s, a), written out."""
    return np.einsum("ast,ato->asto", task.transition * ~task.terminal, task.observation)


def value_written_out(task, policy):
    """J of a policy [H, O, A], over the mass of (state, observation)."""
    here, total = task.initial[:, None] * task.initial_observation, 0.0
    for t in range(task.horizon):
        joint = np.einsum("so,oa->as", here, policy[t])
        total += task.discount**t * np.einsum("as,ast,ast->", joint, task.transition, task.reward)
        here = np.einsum("as,asto->to", joint, law_of(task))
    return total


@pytest.mark.parametrize("name", TASKS)
def test_outcomes_are_the_law_written_out(name):
    task = make(name)
    action, state, after, observation, probability, pay = task.kernel.outcomes
    law = np.zeros((task.num_actions, task.num_states, task.num_states, task.num_observations))
    np.add.at(law, (action, state, after, observation), probability)
    np.testing.assert_allclose(law, law_of(task), atol=1e-15)
    assert (probability > 0).all() and len({*zip(action, state, after, observation, strict=True)}) == len(action)
    np.testing.assert_array_equal(pay, task.reward[action, state, after])
    assert (np.diff(action * task.num_states + state) >= 0).all(), "not in order"


@settings(max_examples=25)
@given(seed=st.integers(0, 10_000))
def test_products_are_sums_over_the_law(random_task, seed):
    task, rng = random_task(seed, horizon=4), np.random.default_rng(seed)
    kernel, law = task.kernel, law_of(task)
    values, joint = rng.normal(size=(task.num_states, 3)), rng.random((task.num_actions, task.num_states))
    np.testing.assert_allclose(kernel.ahead(values), np.einsum("asto,tk->ask", law, values), atol=1e-12)
    np.testing.assert_allclose(kernel.onward(joint), np.einsum("as,asto->to", joint, law), atol=1e-12)
    informed = np.einsum("asto,bt->asob", law, joint).max(-1).sum(-1)
    np.testing.assert_allclose(kernel.ahead_informed(joint), informed, atol=1e-12)
    begun = task.initial[:, None] * task.initial_observation
    np.testing.assert_allclose(kernel.start.toarray(), begun, atol=1e-15)
    shown, mass = kernel.first
    np.testing.assert_array_equal(shown, np.flatnonzero(begun.any(0)))
    np.testing.assert_allclose(mass, begun.T[shown], atol=1e-15)
    for (action, observation), branch in kernel.branches.items():
        np.testing.assert_allclose(branch.toarray(), law[action, :, :, observation], atol=1e-15)
    possible = {(int(a), int(o)) for a, o in np.argwhere(law.sum((1, 2)))}
    assert set(kernel.branches) == possible


@settings(max_examples=25)
@given(seed=st.integers(0, 10_000))
def test_a_policy_is_worth_what_the_recursion_written_out_says(random_task, seed):
    task, rng = random_task(seed, horizon=4), np.random.default_rng(seed)
    graph = state_graph(task)
    timed = rng.dirichlet(np.ones(task.num_actions), (task.horizon, task.num_observations))
    assert timed_policy_value(graph, timed) == pytest.approx(value_written_out(task, timed), abs=1e-12)
    values = policy_values(graph, timed)
    each = [value_written_out(task, np.broadcast_to(policy, timed.shape)) for policy in timed]
    np.testing.assert_allclose(values, each, atol=1e-12)


@pytest.mark.parametrize("name", ["flicker_grid:time=true", "rock_sample:time=true", "mini_hallway:time=true"])
def test_a_task_that_shows_the_time_needs_memory_for_what_can_happen(name):
    """Pairs of (state, observation) are few of all that could be written down: 95 GB and more once."""
    task = make(name)
    tracemalloc.start()
    state_graph(task)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    tables = 16 * task.num_actions * task.num_states**2
    assert peak < 8 * tables, f"{peak / 1e6:.0f} MB for tables of {tables / 1e6:.0f} MB"
