import warnings
from pathlib import Path

import numpy as np
import pytest

from seqrl_jax.exact.belief import belief_graph, history_policy
from seqrl_jax.exact.bounds import fast_informed_bound, grid_bound, history_interval
from seqrl_jax.exact.budget import DEFAULT, Meter
from seqrl_jax.exact.controller import evaluate_controller
from seqrl_jax.exact.grid import embedded, faces, interpolation
from seqrl_jax.exact.plans import likely_beliefs
from seqrl_jax.exact.state import start_value, state_values
from seqrl_jax.tasks import make, read_pomdp

FILES = Path(__file__).parents[3] / "shared" / "pomdp"


@pytest.mark.parametrize("seed", range(20))
def test_every_bound_is_on_its_side_of_the_exact_value(random_task, seed):
    task = random_task(seed)
    exact = history_policy(belief_graph(task).graph)[0]
    interval, controller = history_interval(task, limit=1)
    assert interval.lower <= exact + 1e-9 and exact - 1e-9 <= interval.upper
    assert evaluate_controller(task, controller) == pytest.approx(interval.lower)
    state = start_value(task, state_values(task)[0])
    assert exact - 1e-9 <= fast_informed_bound(task)[0] <= state + 1e-9


@pytest.mark.parametrize("seed", range(5))
def test_a_coarse_grid_still_bounds(random_task, seed):
    task = random_task(seed)
    exact = history_policy(belief_graph(task).graph)[0]
    assert grid_bound(task, 1, Meter(DEFAULT)) >= exact - 1e-9


@pytest.mark.parametrize("name", ["tiger", "peek_maze", "tmaze"])
def test_the_bounds_close_where_the_answer_is_known(name):
    task = make(name)
    exact = history_policy(belief_graph(task).graph)[0]
    interval, _ = history_interval(task, limit=1)
    assert "trials" in interval.method and interval.is_exact
    assert interval.lower == pytest.approx(exact, abs=1e-6)


def test_the_market_is_certified_though_its_beliefs_cannot_be_listed():
    """Solved anew: a solution kept from an earlier solver proves nothing."""
    task = make("hidden_market")
    interval, controller = history_interval(task)
    assert interval.is_exact and "grid interpolation" in interval.method
    assert evaluate_controller(task, controller) == pytest.approx(interval.lower, abs=1e-12)


@pytest.mark.parametrize(("horizon", "limit"), [(5, 10), (8, 100)])
def test_the_market_over_fewer_steps_lies_within_its_bounds(horizon, limit):
    task = make(f"hidden_market:horizon={horizon}")
    exact = history_policy(belief_graph(task).graph)[0]
    interval, _ = history_interval(task, limit)
    assert "trials" in interval.method and interval.is_exact
    assert interval.lower - 1e-12 <= exact <= interval.upper + 1e-12


def test_a_rover_among_many_rocks_gets_an_interval_that_beats_seeing_the_state_late():
    task = make("rock_sample:size=3,rocks=3")
    interval, controller = history_interval(task, limit=1000)
    assert interval.upper < fast_informed_bound(task)[0]
    assert evaluate_controller(task, controller) == pytest.approx(interval.lower, abs=1e-12)


def greedy_for(task, action):
    """[H, A, S]: values for which the greedy policy always takes this action."""
    return np.eye(task.num_actions)[np.full((task.horizon, task.num_states), task.actions.index(action))].swapaxes(1, 2)


def test_likely_beliefs_are_those_of_the_greedy_policy():
    """Who tries the first door again and again knows after one step that it is locked, and learns nothing more."""
    task = make("locked_doors:doors=3,horizon=4")
    found = likely_beliefs(task, greedy_for(task, task.actions[0]), budget=400)
    np.testing.assert_allclose(np.unique(found.round(9), axis=0)[:, :3], [[0, 0.5, 0.5], [1 / 3] * 3], atol=1e-8)


def test_likely_beliefs_keep_within_their_budget_and_keep_the_likeliest():
    """After listening, hearing the same side twice is likelier than both sides: leads of 2 stay, leads of 0 go."""
    task = make("tiger_repeated:horizon=3")
    values = greedy_for(task, "listen")
    assert len(likely_beliefs(task, values, budget=3)) == 3
    left = likely_beliefs(task, values, budget=6)[:, 0]
    lead = 0.85**2 / (0.85**2 + 0.15**2)
    np.testing.assert_allclose(np.sort(left)[[0, -1]], [1 - lead, lead])


def test_a_task_that_always_ends_at_once_has_bounds():
    task = make("locked_doors:doors=1")
    interval, _ = history_interval(task, limit=0)
    assert interval.lower == interval.upper == pytest.approx(0.9)


@pytest.mark.skipif(not FILES.is_dir(), reason="the sample files are not part of the package")
def test_the_shuttle_has_its_published_infinite_horizon_value():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        task = read_pomdp(FILES / "shuttle.95.POMDP", 400)
    interval, _ = history_interval(task, limit=1000)
    assert interval.lower == pytest.approx(32.8897, abs=1e-4) and interval.gap < 1e-4


@pytest.mark.parametrize("name", ["hidden_market", "rock_sample:size=3,rocks=2", "flicker_grid", "mini_hallway"])
def test_interpolation_mixes_grid_points_into_the_belief_itself(name):
    task = make(name)
    for face in faces(task, 500):
        beliefs = np.random.default_rng(0).dirichlet(np.full(len(face.states), 0.5), 200)
        beliefs = np.concatenate([beliefs, face.points[:50], np.eye(len(face.states))])
        points, weights = interpolation(face, beliefs)
        assert (weights >= -1e-12).all()
        np.testing.assert_allclose(weights.sum(1), 1)
        np.testing.assert_allclose((weights[..., None] * face.points[points]).sum(1), beliefs, atol=1e-8)


def test_grid_points_are_distributions_over_living_states():
    task = make("rock_sample:size=3,rocks=2")
    points = embedded(task, faces(task, 2000))
    np.testing.assert_allclose(points.sum(1), 1)
    assert (points >= 0).all() and (points[:, task.terminal] == 0).all()
