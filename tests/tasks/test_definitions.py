"""What the tasks say of themselves holds in their arrays."""

import re

import jax
import numpy as np
import pytest

from seqrl_jax import tasks
from seqrl_jax.exact.state import evaluate_memoryless, start_value, state_values, uniform_policy
from seqrl_jax.naming import SpecError
from seqrl_jax.tasks import TASKS, TaskError, describe, fingerprint, make, observed
from seqrl_jax.tasks.tabular import with_discount, with_horizon


def walk(task, state, *actions):
    """The state reached by certain moves, and what they paid."""
    index, paid = task.states.index(state), 0.0
    for name in actions:
        action = task.actions.index(name)
        after = int(task.transition[action, index].argmax())
        assert task.transition[action, index, after] == 1, "not a certain move"
        paid += task.reward[action, index, after]
        index = after
    return task.states[index], pytest.approx(paid)


def shown(task, state, action=None):
    """observation -> probability on reset in a state, or on entering it."""
    index = task.states.index(state)
    law = task.initial_observation[index] if action is None else task.observation[task.actions.index(action), index]
    return {task.observations[o]: law[o] for o in np.flatnonzero(law)}


@pytest.mark.parametrize("name", TASKS)
def test_every_task_has_a_paragraph_a_picture_and_a_seed_idea(name):
    reported = describe(name)
    assert len(reported.paragraph) > 80 and reported.picture.strip() and len(reported.idea) > 40


@pytest.mark.parametrize("name", TASKS)
def test_the_observed_twin_has_the_same_random_and_state_values(name):
    task, twin = make(name), make(f"{name}:observed=true")
    assert twin.num_observations == twin.num_states
    assert evaluate_memoryless(twin, uniform_policy(twin)) == pytest.approx(
        evaluate_memoryless(task, uniform_policy(task))
    )
    assert start_value(twin, state_values(twin)[0]) == start_value(task, state_values(task)[0])


@pytest.mark.parametrize("name", TASKS)
def test_only_the_terminal_state_shows_end(name):
    task = make(name)
    if "end" in task.observations:
        end = task.observations.index("end")
        assert (task.observation[:, task.terminal, end] == 1).all()
        assert (task.observation[:, ~task.terminal, end] == 0).all()
        assert task.initial_observation[~task.terminal, end].max() == 0


def test_a_locked_door_stays_locked():
    task = make("locked_doors")
    assert walk(task, "door_1", "try_0", "try_0", "try_2") == ("door_1", -0.3)
    assert walk(task, "door_1", "try_0", "try_1") == ("end", 0.8)


def test_leaving_two_doors_pays_without_a_try():
    assert walk(make("two_doors"), "locked_locked", "try_0", "leave") == ("end", 0.1)


def test_peeking_shows_the_side_and_costs_two_moves():
    task = make("peek_maze")
    assert walk(task, "left_0", "north") == ("left_peek", -0.05)
    assert shown(task, "left_peek", "north") == {"goal_left": 1.0}
    assert shown(task, "left_0") == shown(task, "right_0") == {"centre": 1.0}
    assert walk(task, "left_0", "north", "south", "west", "west") == ("end", 0.8)
    assert walk(task, "left_0", "east", "east") == ("end", -1.1)
    noisy = make("peek_maze:accuracy=.8")
    assert shown(noisy, "right_peek", "north") == {"goal_right": pytest.approx(0.8), "goal_left": pytest.approx(0.2)}


def test_the_corridor_is_switched_in_the_middle():
    task = make("switched_corridor")
    assert walk(task, "cell_0", "left", "right", "left", "right") == ("end", -4.0)
    assert walk(task, "cell_1", "right") == ("cell_0", -1.0)


def test_the_first_tiger_observation_tells_nothing():
    task = make("tiger")
    assert shown(task, "left") == shown(task, "right") == {"none": 1.0}
    assert shown(task, "left", "listen") == {"hear_left": 0.85, "hear_right": pytest.approx(0.15)}


def test_the_repeated_tiger_moves_when_a_door_opens():
    task = make("tiger_repeated")
    opened = task.actions.index("open_left")
    np.testing.assert_array_equal(task.transition[opened], 0.5)
    assert not task.terminal.any() and shown(task, "left", "open_left") == {"none": 1.0}


def test_the_cue_is_shown_in_the_first_cell_only():
    task = make("tmaze:length=3")
    assert shown(task, "south_0") == {"cue_south": 1.0}
    assert shown(task, "south_1", "east") == shown(task, "north_3", "east") == {"corridor": 1.0}
    assert walk(task, "north_0", "east", "east", "east", "east", "north") == ("end", 4.0)
    assert walk(task, "north_0", "north", "east", "east", "east", "east", "south") == ("end", -0.1)


def test_the_priest_stands_away_from_the_arms():
    task = make("heaven_hell")
    assert shown(task, "left_0_-2", "south") == {"heaven_left": 1.0}
    assert shown(task, "left_0_0") == shown(task, "right_0_0") == {"origin": 1.0}
    there_and_back = ["south", "south", "north", "north", "north", "north", "west", "west"]
    assert walk(task, "left_0_0", *there_and_back) == ("end", 1.0)
    assert walk(task, "right_0_0", *there_and_back) == ("end", -1.0)


def test_a_sampled_rock_is_spoiled_and_far_checks_are_noisier():
    task = make("rock_sample")
    assert walk(task, "s1_0_True", "sample", "sample", "east") == ("end", 10.0)
    near, far = shown(task, "s1_0_True", "check_0"), shown(task, "s0_1_True", "check_0")
    assert near == {"at_1_0_good": 1.0}
    assert far["at_0_1_good"] == pytest.approx((1 + 2 ** (-(2**0.5) / 20)) / 2)


def test_the_asked_symbol_is_the_one_of_two_steps_ago():
    task = make("repeat_previous")
    state, action = task.states.index("s1_0_0"), task.actions.index("say_1")
    after = np.flatnonzero(task.transition[action, state])
    assert [task.states[s] for s in after] == ["s0_0_0", "s0_0_1"]
    assert (task.reward[action, state, after] == 1).all()
    assert shown(task, "s1_0_0") == {"symbol_0": 1.0}


def test_the_flicker_hides_the_cell_with_the_stated_probability():
    task = make("flicker_grid")
    assert shown(task, "s0_0") == {"blank": 0.7, "cell_0_0": pytest.approx(0.3)}
    assert walk(task, "s2_3", "east") == ("end", 0.96)
    assert walk(task, "s0_0", "north", "east") == ("end", -1.08)
    assert task.initial[task.terminal].sum() == 0 and (task.initial > 0).sum() == 12


def test_the_goal_of_the_hallway_looks_like_its_other_end():
    task = make("mini_hallway")
    north, east, west = 0, 1, 3
    assert shown(task, f"s6_{east}") == shown(task, f"s0_{west}") == {"walls_front_right_left": 1.0}
    assert shown(task, f"s1_{north}") == shown(task, f"s3_{north}") == {"walls_back": 1.0}
    assert walk(task, f"s5_{east}", "forward", "forward", "declare") == ("end", 0.9)
    assert walk(task, f"s1_{north}", "forward", "right", "forward") == (f"s2_{east}", -0.15)


def test_a_glance_shows_the_spot_as_it_is_now():
    task = make("blind_spot")
    assert shown(task, "taken", "glance") == {"see_taken": 1.0}
    assert shown(task, "taken", "wait") == {"nothing": 1.0}
    glance = task.actions.index("glance")
    assert task.transition[glance, 0, 1] == pytest.approx(0.3)


def test_the_market_pays_position_times_the_next_return_minus_fees():
    task = make("hidden_market")
    start, after = task.states.index("bull_up_short"), task.states.index("bear_down_long")
    long = task.actions.index("long")
    assert task.transition[long, start, after] == pytest.approx(0.05 * 0.5)
    assert task.reward[long, start, after] == pytest.approx(-0.1 - 0.04)
    assert shown(task, "bull_up_short", "long") == shown(task, "bear_up_short", "long") == {"up_short": 1.0}


def test_a_task_is_a_pytree_of_arrays_with_static_names():
    leaves, _ = jax.tree.flatten(make("tiger"))
    assert len(leaves) == 8
    doubled = jax.tree.map(lambda leaf: leaf, make("tiger"))
    assert fingerprint(doubled) == fingerprint(make("tiger"))


def test_the_fingerprint_sees_every_number_and_no_name():
    task = make("tiger")
    others = [make("tiger:accuracy=.8"), with_horizon(task, 19), with_discount(task, 0.9), observed(task)]
    assert len({fingerprint(other) for other in [task, *others]}) == 5
    assert fingerprint(make("tiger:horizon=20")) == fingerprint(task)


@pytest.mark.parametrize(
    ("spec", "error", "said"),
    [
        ("tmzae", SpecError, "unknown task 'tmzae'; did you mean tmaze"),
        (
            "models/tiger.pomdpx",
            SpecError,
            "'models/tiger.pomdpx' cannot be read as a task: files of tasks end",
        ),
        ("tiger.pomdpx:horizon=3", SpecError, "'tiger.pomdpx' cannot be read as a task"),
        ("tiger.POMDP.gz", SpecError, "'tiger.POMDP.gz' cannot be read as a task"),
        ("models/tiger", SpecError, "'models/tiger' cannot be read as a task"),
        ("tmaze:lenght=3", SpecError, "did you mean length"),
        ("tmaze:length=three", SpecError, "expected a whole number"),
        ("tmaze:length", SpecError, "not of the form key=value"),
        ("tmaze:length=1,length=2", SpecError, "stands twice"),
        ("tmaze:observed=yes", SpecError, "expected true or false"),
        ("tmaze:horizon=0", SpecError, "horizon is 0, expected a whole number >= 1"),
        ("tmaze:horizon=-3", SpecError, "horizon is -3"),
        ("tmaze:discount=1.5", SpecError, "discount is 1.5"),
        ("tmaze:discount=nan", SpecError, "discount is nan"),
        ("tmaze:good=nan", SpecError, "good is nan"),
        ("locked_doors:doors=0", SpecError, "doors is 0"),
        ("locked_doors:doors=100000", TaskError, "at least 100,001 states, more than its tables can hold"),
        ("two_doors:open_probability=1.5", SpecError, "expected a number >= 0 and <= 1"),
        ("flicker_grid:size=2", SpecError, "expected a whole number >= 4"),
        ("repeat_previous:symbols=9,delay=99", TaskError, "more than 10^12 states"),
        ("tmaze:horizon=100000,time=true", TaskError, "more than its tables can hold"),
        ("rock_sample:rocks=4", TaskError, "do not fit"),
        ("missing.POMDP", OSError, "missing.POMDP"),
    ],
)
def test_bad_names_and_numbers_get_one_clear_line(spec, error, said):
    with pytest.raises((error, tasks.PomdpFileError), match=re.escape(said)) as caught:
        make(spec)
    assert "\n" not in str(caught.value)
