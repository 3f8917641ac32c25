from dataclasses import replace
from functools import partial
from itertools import product

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seqrl_jax.exact import memoryless
from seqrl_jax.exact.ascent import ascend, effort, exact_value
from seqrl_jax.exact.branch_and_bound import Boxes, action_differences, assess, search, split_actions, split_ranges
from seqrl_jax.exact.budget import Meter, SearchBudget
from seqrl_jax.exact.graph import policy_values, state_graph
from seqrl_jax.exact.memoryless import memoryless_deterministic, memoryless_stochastic
from seqrl_jax.exact.solve import solve_anew
from seqrl_jax.exact.state import evaluate_memoryless, largest_return, start_value, state_values
from seqrl_jax.results.record import Bound
from seqrl_jax.tasks import TASKS, make


def random_policies(task, count, seed=0):
    return np.random.default_rng(seed).dirichlet(np.full(task.num_actions, 0.5), (count, task.num_observations))


@pytest.mark.parametrize("seed", range(15))
def test_branch_and_bound_finds_what_enumeration_finds(random_task, seed):
    task = random_task(seed)
    graph = state_graph(task)
    listed, _ = memoryless_deterministic(task, graph)
    searched, policy = memoryless_deterministic(task, graph, limit=0)
    assert "enumeration" in listed.method and "branch and bound" in searched.method
    assert searched.lower == pytest.approx(listed.lower, abs=1e-6) and searched.is_exact
    assert float(evaluate_memoryless(task, policy)) == pytest.approx(searched.lower)


@pytest.mark.parametrize("seed", range(8))
def test_no_random_policy_beats_the_upper_end(random_task, seed):
    task = random_task(seed)
    graph = state_graph(task)
    deterministic, start = memoryless_deterministic(task, graph)
    interval, policy = memoryless_stochastic(task, graph, start, np.inf)
    assert deterministic.lower <= interval.lower + 1e-12
    assert evaluate_memoryless(task, random_policies(task, 20_000)).max() <= interval.upper + 1e-12
    assert float(evaluate_memoryless(task, policy)) == interval.lower


@pytest.mark.parametrize("seed", range(8))
def test_both_bounds_hold_in_every_box(random_task, seed):
    """Random boxes around random policies: no policy in a box exceeds its bound, and small boxes have tight bounds."""
    task = random_task(seed, horizon=6)
    rng = np.random.default_rng(seed)
    graph = state_graph(task)
    for width in (0.5, 0.05, 0.005):
        centre = random_policies(task, 1, seed)[0]
        low, high = np.clip(centre - width, 0, 1), np.clip(centre + width, 0, 1)
        found = assess(graph, Boxes(low[..., None], high[..., None]), action_differences(graph))
        corners = low + (high - low) * rng.uniform(size=(4000, *centre.shape)) ** 0.3
        inside = corners / corners.sum(-1, keepdims=True)
        inside = inside[((inside >= low) & (inside <= high)).all((1, 2))]
        values = evaluate_memoryless(task, np.concatenate([inside, centre[None], np.moveaxis(found.policy, -1, 0)]))
        assert values.max() <= found.bound[0] + 1e-10
    # The gap of the second-order bound shrinks with the square of the width: at .005 nothing of first order is left.
    spread = np.abs(task.reward).max() * task.horizon
    assert found.bound[0] - values.max() < spread * 0.02


@pytest.mark.parametrize("name", ["aliased_line", "switched_corridor"])
def test_one_free_probability_agrees_with_a_fine_scan(name, solved):
    task, solution = solved(name)
    p = np.linspace(0, 1, 20_001)
    table = np.zeros((len(p), task.num_observations, task.num_actions))
    table[..., 0], table[..., 1] = p[:, None], 1 - p[:, None]
    best = evaluate_memoryless(task, table).max()
    found = solution.values["memoryless_stochastic"]
    assert best <= found.lower + 1e-12 and found.lower - best < 1e-7 and found.is_exact


def test_the_switched_corridor_goes_right_with_the_published_probability(solved):
    """Sutton & Barto (2018), example 13.1: about .59 at an infinite horizon, value about -11.6."""
    task, solution = solved("switched_corridor:horizon=2000")
    assert solution.stochastic[0, task.actions.index("right")] == pytest.approx(2 - 2**0.5, abs=1e-3)
    assert solution.values["memoryless_stochastic"].lower == pytest.approx(-11.66, abs=0.01)


def test_blind_search_for_the_door_is_uniform(solved):
    _, solution = solved("locked_doors")
    np.testing.assert_allclose(solution.stochastic[0], 1 / 3, atol=1e-5)


@pytest.mark.parametrize(
    ("spec", "value"),
    [
        ("aliased_line", 0.5),
        ("grey_line", -11.0),
        ("tmaze", 4 * 0.9**6 / 2),
        ("tmaze:length=10", 4 * 0.9**11 / 2),
        ("repeat_previous", 0.0),
        ("repeat_previous:symbols=3,delay=1", 16 * (2 / 3 - 1)),
    ],
)
def test_closed_forms_of_deterministic_maps(spec, value, solved):
    found = solved(spec)[1].values["memoryless_deterministic"]
    assert found.lower == pytest.approx(value, abs=1e-9) and found.is_exact


def test_walking_only_when_the_cue_is_good_is_the_best_memoryless_policy(solved):
    assert solved("tmaze")[1].values["memoryless_stochastic"].lower == pytest.approx(4 * 0.9**6 / 2, abs=1e-9)


def test_the_gradient_is_that_of_the_exact_value(random_task):
    task = random_task(3)
    policy = random_policies(task, 1)[0]
    with jax.enable_x64(True):
        value, gradient = jax.value_and_grad(exact_value(task))(jnp.asarray(policy))
    assert float(value) == pytest.approx(float(evaluate_memoryless(task, policy)), abs=1e-12)
    for index in np.ndindex(*policy.shape):
        step = np.zeros_like(policy)
        step[index] = 1e-6
        up, down = evaluate_memoryless(task, np.stack([policy + step, policy - step]))
        assert float(gradient[index]) == pytest.approx((up - down) / 2e-6, abs=1e-6)


def test_sixty_four_bits_stay_inside_the_solver(solved):
    solved("tiger")
    assert jnp.zeros(1).dtype == jnp.float32


def test_an_observed_task_needs_no_search():
    """Where the relaxation's choices agree, the first box is the last."""
    task = make("tmaze:observed=true")
    graph = state_graph(task)
    start = np.eye(task.num_actions)[np.zeros(task.num_observations, int)]
    upper, _, finished = search(graph, lambda p: evaluate_memoryless(task, p), split_ranges, start, second_order=True)
    assert finished and upper == pytest.approx(start_value(task, state_values(task)[0]), abs=1e-6)


def test_splitting_a_box_keeps_every_policy_of_it():
    rng = np.random.default_rng(0)
    low, high = np.zeros((2, 3)), np.ones((2, 3))
    low[0, 0], high[0, 1] = 0.1, 0.6
    policies = rng.dirichlet(np.ones(3), (5000, 2))
    inside = lambda low, high: ((policies >= low) & (policies <= high)).all((1, 2))
    parts = split_ranges(low, high, policies[0], 0)
    covered = np.logical_or.reduce([inside(*part) for part in parts])
    assert (covered >= inside(low, high)).all()


def test_splitting_actions_leaves_out_no_map():
    low, high = np.zeros((1, 3)), np.ones((1, 3))
    (_, only), (_, others) = split_actions(low, high, np.array([[0, 1.0, 0]]), 0)
    np.testing.assert_array_equal(only, [[0, 1, 0]])
    np.testing.assert_array_equal(others, [[1, 0, 1]])
    assert split_actions(low, only, np.array([[0, 1.0, 0]]), 0) == []


def paid(task, factor):
    """The same task in another currency."""
    return replace(task, reward=task.reward * factor)


def value_written_out(task, policy):
    """J of a policy [O, A], over the mass of (state, observation)."""
    here, total = task.initial[:, None] * task.initial_observation, 0.0
    law = np.einsum("ast,ato->asto", task.transition * ~task.terminal, task.observation)
    for t in range(task.horizon):
        joint = np.einsum("so,oa->as", here, policy)
        total += task.discount**t * np.einsum("as,ast,ast->", joint, task.transition, task.reward)
        here = np.einsum("as,asto->to", joint, law)
    return total


def all_policies(task, parts):
    """[N, O, A]: every policy whose probabilities are multiples of 1 / parts at the observations that are shown."""
    shown = np.unique(state_graph(task).label)
    counts = [c for c in product(range(parts + 1), repeat=task.num_actions) if sum(c) == parts]
    grid = np.array(list(product(np.array(counts) / parts, repeat=len(shown))))
    policies = np.zeros((len(grid), task.num_observations, task.num_actions))
    policies[..., 0] = 1
    policies[:, shown] = grid
    return policies


@settings(max_examples=8)
@given(seed=st.integers(0, 10_000), horizon=st.integers(2, 5), power=st.integers(-6, 9))
def test_the_best_map_is_the_best_of_all_maps_written_out(random_task, seed, horizon, power):
    task = paid(random_task(seed, horizon=horizon), 10.0**power)
    unit = largest_return(task)
    best = max(value_written_out(task, policy) for policy in all_policies(task, 1))
    for limit in (0, 10**6):
        interval, policy = memoryless_deterministic(task, state_graph(task), limit)
        assert interval.is_exact and interval.lower <= interval.upper
        assert interval.lower == pytest.approx(best, abs=1e-7 * unit)
        assert value_written_out(task, policy) == pytest.approx(interval.lower, abs=1e-12 * unit)


@settings(max_examples=8)
@given(seed=st.integers(0, 10_000), horizon=st.integers(2, 5), power=st.integers(-6, 9))
def test_no_policy_on_a_grid_exceeds_what_branch_and_bound_proves(random_task, seed, horizon, power):
    task = paid(random_task(seed, horizon=horizon), 10.0**power)
    unit = largest_return(task)
    graph = state_graph(task).in_units(unit)
    uniform = np.full((task.num_observations, task.num_actions), 1 / task.num_actions)
    found = search(
        graph, partial(policy_values, graph), split_ranges, uniform, second_order=True, meter=Meter(SearchBudget(2e7))
    )
    best = evaluate_memoryless(task, all_policies(task, 10 if task.num_actions == 2 else 4)).max()
    assert best <= unit * (found.upper + 1e-12)
    if found.finished:
        assert best <= value_written_out(task, found.policy) + 1e-7 * unit


@pytest.mark.parametrize("seed", [1, 11])
def test_a_task_in_cents_is_solved_as_one_in_dollars(random_task, seed):
    task = random_task(seed)
    plain = solve_anew(task)
    for factor in (1e-6, 1e9):
        other = solve_anew(paid(task, factor))
        np.testing.assert_array_equal(other.deterministic, plain.deterministic)
        np.testing.assert_allclose(other.stochastic, plain.stochastic, atol=1e-5)
        for name, value in plain.values.items():
            found, slack = other.values[name], 1e-7 * plain.values[name].unit
            assert found.lower / factor == pytest.approx(value.lower, abs=slack)
            assert found.upper / factor == pytest.approx(value.upper, abs=slack)
            assert (found.method, found.is_exact) == (value.method, value.is_exact)


def test_nothing_is_searched_where_the_best_map_attains_the_history_value(monkeypatch):
    """An ascent over 85 observations once took minutes, to find what is known."""
    monkeypatch.delattr(memoryless, "ascend")
    task = make("tmaze:length=40,observed=true")
    graph, best = state_graph(task), start_value(task, state_values(task)[0])
    deterministic, policy = memoryless_deterministic(task, graph)
    interval, kept = memoryless_stochastic(task, graph, policy, best)
    assert interval.is_exact and interval.lower == deterministic.lower == pytest.approx(best, abs=1e-9)
    np.testing.assert_array_equal(kept, policy)


def test_a_search_that_gains_nothing_is_given_up():
    task = make("rock_sample:size=3,rocks=2")
    graph = state_graph(task).in_units(largest_return(task))
    boxes = []

    def evaluate(policies):
        boxes.append(len(policies))
        return policy_values(graph, policies)

    uniform = np.full((task.num_observations, task.num_actions), 1 / task.num_actions)
    spent = {}
    for known in (np.inf, 0.0):
        boxes.clear()
        search(graph, evaluate, split_ranges, uniform, second_order=True, known=known, meter=Meter(SearchBudget(3e7)))
        spent[known] = sum(boxes)
    assert spent[0.0] < spent[np.inf] / 3


def over():
    """A meter of which all seconds are over."""
    now = [0.0]
    meter = Meter(SearchBudget(seconds=1.0), lambda: now[0])
    now[0] = 10.0
    return meter


@settings(max_examples=10)
@given(seed=st.integers(0, 10_000))
def test_without_time_the_ends_are_wide_and_true(random_task, seed):
    task = random_task(seed)
    graph, top = state_graph(task), start_value(task, state_values(task)[0])
    best = evaluate_memoryless(task, all_policies(task, 4)).max()
    for limit in (0, 1_000_000):
        maps, policy = memoryless_deterministic(task, graph, limit, meter=over())
        assert evaluate_memoryless(task, policy) == pytest.approx(maps.lower, abs=1e-12)
        assert evaluate_memoryless(task, all_policies(task, 1)).max() <= maps.upper + 1e-9
        stochastic, kept = memoryless_stochastic(task, graph, policy, top, meter=over())
        assert evaluate_memoryless(task, kept) == pytest.approx(stochastic.lower, abs=1e-12)
        assert best <= stochastic.upper + 1e-9 and stochastic.upper <= top + 1e-9


def test_a_search_that_is_late_looks_at_the_whole_box_alone():
    task = make("heaven_hell")
    graph = state_graph(task).in_units(largest_return(task))
    uniform, boxes = np.full((task.num_observations, task.num_actions), 1 / task.num_actions), []

    def evaluate(policies):
        boxes.append(len(policies))
        return policy_values(graph, policies)

    found = search(graph, evaluate, split_ranges, uniform, second_order=True, meter=over())
    # One for the policy to start from, one for the box of all.
    assert boxes == [1, 1] and not found.finished


def test_an_ascent_that_is_late_gives_the_best_that_it_began_with():
    task = make("grey_line")
    first = random_policies(task, 1)[0]
    found = ascend(task, first, late=lambda: True)
    looks = iter([False] * 3 + [True] * 1000)
    further = ascend(task, first, late=lambda: next(looks))
    values = [float(evaluate_memoryless(task, policy)) for policy in (first, found, further, ascend(task, first))]
    assert values[0] <= values[1] < values[2] <= values[3] + 1e-9


@pytest.mark.parametrize(
    ("spec", "starts", "iterations"),
    [("switched_corridor", 4, 150), ("switched_corridor:horizon=2000", 4, 20), ("heaven_hell", 64, 150)],
)
def test_effort_grows_with_what_is_free_and_falls_with_what_a_step_costs(spec, starts, iterations):
    assert effort(make(spec)) == (starts, iterations)


def test_a_large_product_is_climbed_from_fewer_starts():
    assert effort(make("rock_sample:size=3,rocks=2")).starts < effort(make("rock_sample")).starts


@pytest.mark.parametrize("name", TASKS)
def test_a_record_calls_exact_what_the_solver_does(name, solved):
    """A record's bounds do not carry the task's unit, see decision 0031."""
    for value in solved(name)[1].values.values():
        assert Bound(value.lower, value.upper, value.method).is_exact == value.is_exact
