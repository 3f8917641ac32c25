"""POMDPs of the literature, made anew, have the sizes and the dynamics that their papers state."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from seqrl_jax.exact.bounds import fast_informed_bound, history_interval
from seqrl_jax.exact.budget import Meter, SearchBudget
from seqrl_jax.exact.graph import state_graph
from seqrl_jax.exact.state import start_value, state_values
from seqrl_jax.exact.trials import by_steps
from seqrl_jax.tasks.pomdp_file import format_pomdp, parse_pomdp
from seqrl_jax.tasks.simulator import tabular_params
from seqrl_jax.tasks.tabular import fingerprint, observed, with_horizon

PATH = Path(__file__).parents[2] / "benchmarks" / "pomdps" / "generators.py"


@pytest.fixture(scope="module")
def generators():
    spec = importlib.util.spec_from_file_location("generators", PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("rock_sample_4_4", (257, 9, 3)),
        ("rock_sample_5_5", (801, 10, 3)),
        ("rock_sample_5_7", (3201, 12, 3)),
        ("rock_sample_7_8", (12545, 13, 3)),
        ("tag", (870, 5, 30)),
        ("hallway_23", (92, 5, 17)),
    ],
)
def test_the_sizes_are_the_published_ones(generators, name, size):
    task = generators.GENERATORS[name]()
    assert (task.num_states, task.num_actions, task.num_observations) == size
    assert task.discount == 0.95 and task.name == name


@pytest.mark.parametrize("name", ["rock_sample_4_4", "tag", "hallway_23"])
def test_a_file_of_it_is_the_task(generators, name):
    task = generators.GENERATORS[name]()
    again = parse_pomdp(format_pomdp(task), f"{name}.POMDP")
    assert fingerprint(again) == fingerprint(task) and again.origin == task.origin != ()


def test_the_fully_observed_twin_of_a_large_task_is_lists(generators):
    """12,545 observations in as many states: as one array they would be a gigabyte for each action."""
    twin = observed(generators.GENERATORS["rock_sample_7_8"]())
    graph = state_graph(twin)
    assert sum(law.nnz for law in twin.observation) + twin.initial_observation.nnz == 14 * twin.num_states
    assert tabular_params(twin).token.value.shape == (13, twin.num_states, 1)
    np.testing.assert_array_equal(graph.label, np.flatnonzero(~twin.terminal))
    soon = with_horizon(twin, 3)
    search = by_steps(soon, fast_informed_bound(soon)[1], Meter(SearchBudget()))
    search.trial(1e-9)
    lower, upper = search.ends()
    assert lower <= upper == pytest.approx(start_value(soon, state_values(soon)[0]), abs=1e-9)
    always_sees = with_horizon(observed(generators.GENERATORS["rock_sample_4_4"]()), 30)
    interval, _ = history_interval(always_sees)
    assert interval.lower == pytest.approx(start_value(always_sees, state_values(always_sees)[0]), abs=1e-9)


def test_a_rover_that_sees_its_rocks_takes_the_good_ones_on_its_way_out(generators):
    """From (0, 0) with one rock at (1, 0) on a grid of 2: east, sample if it is good, east; both halves by hand."""
    task = generators.rocks_at([(1, 0)], 2, (0, 0), False, 20)
    good, bad = 10 * 0.95 + 10 * 0.95**2, 10 * 0.95
    assert start_value(task, state_values(task)[0]) == pytest.approx((good + bad) / 2)


def test_an_opponent_flees_and_is_tagged_where_it_is(generators):
    task = generators.tag()
    cell = generators.TAG_CELLS.index
    at = lambda robot, opponent: task.states.index(f"r{cell(robot)}_o{cell(opponent)}")
    north, east, tag = (task.actions.index(name) for name in ("north", "east", "tag"))

    def law(action, state):
        entered = task.transition[action].toarray()[state]
        return {task.states[i]: entered[i] for i in np.flatnonzero(entered)}

    # Level with it in y, west of it: east with .4, north or south with .2 each, but a wall is in the south.
    fled = law(east, at((2, 0), (4, 0)))
    robot = f"r{cell((3, 0))}_o"
    expected = {(4, 0): 0.2 + 0.2, (5, 0): 0.4, (4, 1): 0.2}
    assert fled == pytest.approx({f"{robot}{cell(there)}": p for there, p in expected.items()})
    together = at((6, 4), (6, 4))
    assert task.kernel.reward[tag, together] == 10 and task.kernel.reward[tag, at((6, 4), (5, 4))] == -10
    assert task.kernel.reward[north, together] == -1
    assert task.terminal.sum() == 29 and not task.terminal[together]
    assert np.count_nonzero(task.initial) == 29**2 and task.kernel.start[together, 29] == task.initial[together]
