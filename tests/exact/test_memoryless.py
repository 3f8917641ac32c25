import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqrl_jax.exact.ascent import exact_value
from seqrl_jax.exact.branch_and_bound import Boxes, action_differences, assess, search, split_actions, split_ranges
from seqrl_jax.exact.graph import state_graph
from seqrl_jax.exact.memoryless import memoryless_deterministic, memoryless_stochastic
from seqrl_jax.exact.state import evaluate_memoryless, start_value, state_values
from seqrl_jax.tasks import make


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
