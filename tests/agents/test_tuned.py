"""What is shipped is what a program chose, on tasks and seeds that no table reports."""

import importlib.util
from pathlib import Path

import msgspec
import numpy as np
import pytest

from seqrl_jax.agents import make_agent
from seqrl_jax.agents.tuned import choices
from seqrl_jax.parts import values_of
from seqrl_jax.results import store
from seqrl_jax.tasks import make
from seqrl_jax.tracks.suites import SUITES

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks" / "results"


@pytest.fixture(scope="module")
def tune():
    spec = importlib.util.spec_from_file_location("tune", ROOT / "benchmarks" / "tune.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_no_table_reports_what_was_tuned_on(tune):
    reported = {task for suite in SUITES.values() for task in suite.tasks}
    assert not reported & set(tune.TASKS)
    # Not under another spelling either: no tuning task has the data of a reported one.
    same = lambda a, b: all(np.array_equal(getattr(a, name), getattr(b, name)) for name in ("transition", "reward"))
    shipped = [make(task) for task in reported if SUITES["pomdp"].track == "pomdp" and task in SUITES["pomdp"].tasks]
    for task in map(make, tune.TASKS):
        twins = [
            other
            for other in shipped
            if other.horizon == task.horizon and other.transition.shape == task.transition.shape
        ]
        assert not any(same(task, other) and np.array_equal(task.observation, other.observation) for other in twins), (
            task.name
        )


def test_no_table_uses_a_seed_of_the_tuning(tune):
    recorded = {
        seed
        for name in ("quick", "headline", "pomdp")
        for record in store.read(RESULTS / name)[0]
        for seed in record.seeds
    }
    assert not recorded & set(tune.SEEDS)


@pytest.mark.parametrize("name", choices())
def test_what_is_shipped_was_chosen(tune, name):
    """By the score that the recorded returns give, computed again."""
    recorded = msgspec.json.decode((RESULTS / "tuning" / f"{name}.json").read_bytes())
    smooth = tune.plateaus(tune.GRIDS[name], np.array([row["score"] for row in recorded["rows"]]))
    best = recorded["rows"][int(np.argmax(smooth))]["settings"]
    assert recorded["chosen"] == best
    assert tuple(recorded["tasks"]) == tune.TASKS and tuple(recorded["seeds"]) == tune.SEEDS
    shipped = values_of(make_agent(name))
    assert {key: shipped[key] for key in best} == best
    assert [row["settings"] for row in recorded["rows"]] == tune.combinations(tune.GRIDS[name])
    scores = tune.cdf_scores(*tune.arrays(recorded["rows"]))
    np.testing.assert_allclose(scores, [row["score"] for row in recorded["rows"]], atol=1e-3)


@pytest.mark.parametrize("name", choices())
def test_no_choice_stands_at_an_end_of_its_grid(tune, name):
    """What lies beyond might be better."""
    shipped = values_of(make_agent(name))
    assert all(values[0] < shipped[key] < values[-1] for key, values in tune.GRIDS[name].items())


def test_every_agent_that_can_be_tuned_was(tune):
    assert set(choices()) == set(tune.GRIDS)


def test_a_place_among_returns_counts_every_task_alike(tune):
    """Two settings, two tasks, two seeds: by hand. What one task pays a thousand times changes nothing."""
    returns = np.array([[[1.0, 2.0], [5.0, 5.0]], [[3.0, 4.0], [5.0, 0.0]]])
    first = np.array([[0.125, 0.375], [0.625, 0.625]]).mean()
    second = np.array([[0.625, 0.875], [0.625, 0.125]]).mean()
    exact = np.zeros(2)
    np.testing.assert_allclose(tune.cdf_scores(returns, exact), [first, second])
    returns[:, 0] *= 1000
    np.testing.assert_allclose(tune.cdf_scores(returns, exact), [first, second])
    returns[0, 1, 0] = -np.inf
    assert tune.cdf_scores(returns, exact)[0] < first


def test_a_lucky_setting_among_bad_ones_is_not_chosen(tune):
    grid = {"a": (1, 2, 3), "b": (1, 2)}
    scores = np.array([0.9, 0.1, 0.1, 0.6, 0.5, 0.7])
    mean = scores.mean()
    expected = [0.9 + 0.1 + 0.1 + 2 * mean, 0.1 + 0.9 + 0.6 + 2 * mean, 0.1 + 0.6 + 0.9 + 0.5 + mean]
    expected += [0.6 + 0.1 + 0.1 + 0.7 + mean, 0.5 + 0.7 + 0.1 + 2 * mean, 0.7 + 0.5 + 0.6 + 2 * mean]
    np.testing.assert_allclose(tune.plateaus(grid, scores), np.array(expected) / 5)


def test_luck_chooses_the_ends_of_a_grid_no_more_often_than_what_lies_between(tune):
    grid, rng = {"a": (1, 2, 3, 4), "b": (1, 2)}, np.random.default_rng(0)
    chosen = np.bincount([np.argmax(tune.plateaus(grid, rng.normal(size=8))) // 2 for _ in range(4000)], minlength=4)
    assert abs((chosen[0] + chosen[3]) / 4000 - 0.5) < 0.05


def test_a_task_that_all_settings_solve_ranks_none_of_them(tune):
    """Differences below a hundredth of the range, or that evaluation cannot tell, are ties: luck is no merit."""
    returns = np.array([[[1.0, 1.0]], [[1.0001, 1.0002]], [[0.0, 0.5]]])
    scores = tune.cdf_scores(returns, np.zeros(1))
    assert scores[0] == scores[1] > scores[2]
    lucky = np.random.default_rng(0).normal(size=(30, 1, 3))
    assert np.ptp(tune.cdf_scores(lucky, np.ones(1))) < np.ptp(tune.cdf_scores(lucky, np.zeros(1))) / 3
