import warnings
from pathlib import Path

import numpy as np
import pytest

from seqrl_jax.exact.belief import belief_graph, history_policy
from seqrl_jax.exact.bounds import fast_informed_bound, grid_bound, history_interval, qmdp_bound
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
    informed, qmdp = fast_informed_bound(task)[0], qmdp_bound(task)
    assert exact - 1e-9 <= informed <= qmdp + 1e-9 <= state + 2e-9


@pytest.mark.parametrize("seed", range(5))
def test_a_coarse_grid_still_bounds(random_task, seed):
    task = random_task(seed)
    exact = history_policy(belief_graph(task).graph)[0]
    assert grid_bound(task, 1) >= exact - 1e-9


@pytest.mark.parametrize("name", ["tiger", "peek_maze", "tmaze"])
def test_the_bounds_close_where_the_answer_is_known(name):
    task = make(name)
    exact = history_policy(belief_graph(task).graph)[0]
    interval, _ = history_interval(task, limit=1)
    assert "plans" in interval.method and interval.is_exact
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
    assert "plans" in interval.method and interval.is_exact
    assert interval.lower - 1e-12 <= exact <= interval.upper + 1e-12


def test_a_rover_among_many_rocks_gets_an_interval_that_beats_seeing_the_state_late():
    task = make("rock_sample:size=3,rocks=3")
    interval, controller = history_interval(task, limit=1000)
    assert interval.upper < fast_informed_bound(task)[0]
    assert evaluate_controller(task, controller) == pytest.approx(interval.lower, abs=1e-12)


def test_likely_beliefs_are_those_of_the_greedy_policy():
    """In the tiger problem that policy listens, and what it can hear leads to one belief for each lead of a side."""
    task = make("tiger_repeated:horizon=4")
    listen = np.where(np.arange(task.num_actions) == task.actions.index("listen"), 1.0, 0.0)
    values = np.tile(listen[:, None], (4, 1, task.num_states))
    left = likely_beliefs(task, values, budget=400)[:, 0]
    leads = [0.85**k / (0.85**k + 0.15**k) for k in range(-3, 4)]
    np.testing.assert_allclose(np.unique(left.round(9)), leads, atol=1e-8)
    assert len(likely_beliefs(task, values, budget=4)) == 4


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
