"""What wrappers do to certified values: what is shown less is worth no more, and some values have a closed form."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from sequences import law

from seqrl_jax.exact.bounds import history_interval
from seqrl_jax.exact.solve import solve_anew
from seqrl_jax.exact.state import evaluate_memoryless
from seqrl_jax.naming import SpecError
from seqrl_jax.tasks import TaskError, build, fingerprint, goes, make, uniform
from seqrl_jax.tasks.tabular import validated
from seqrl_jax.tasks.wrappers import delay, flicker, frame_stack, previous_action, sticky

SEEDS = range(4)
HORIZON = 3


@pytest.fixture(params=SEEDS)
def task(request, random_task):
    return random_task(request.param, horizon=HORIZON)


def history(task):
    """The best value of the history, which is exact for tasks as small as these."""
    interval, _ = history_interval(task)
    assert interval.upper - interval.lower < 1e-8
    return interval.lower


def expected_return(task, actions):
    gains = task.discount ** np.arange(len(actions))
    # Not by `sequences.law`, whose rewards have two digits.
    chance, total = task.initial, 0.0
    for gain, a in zip(gains, actions, strict=True):
        total += gain * chance @ (task.transition[a] * task.reward[a]).sum(-1)
        chance = chance @ task.transition[a]
    return float(total)


def blind(task):
    """The best value of those who see nothing: of a sequence of actions."""
    return max(expected_return(task, plan) for plan in product(range(task.num_actions), repeat=task.horizon))


def test_the_more_is_lost_the_less_a_history_is_worth(task):
    worth = [history(flicker(task, probability)) for probability in (0.0, 0.3, 0.8, 1.0)]
    np.testing.assert_allclose(worth[0], history(task), atol=1e-8)
    assert (np.diff(worth) <= 1e-8).all()
    np.testing.assert_allclose(worth[-1], blind(task), atol=1e-8)


def test_the_later_it_is_seen_the_less_a_history_is_worth(task):
    worth = [history(delay(task, steps)) for steps in range(HORIZON + 1)]
    np.testing.assert_allclose(worth[0], history(task), atol=1e-8)
    assert (np.diff(worth) <= 1e-8).all()
    np.testing.assert_allclose(worth[-1], blind(task), atol=1e-8)


@pytest.mark.parametrize("frames", [1, 2, 3])
def test_a_policy_of_the_newest_frame_is_worth_what_it_was(task, frames):
    """And the history what it was: so the best policy of a stack lies between the best of one frame and the history."""
    stacked = frame_stack(task, frames)
    newest = [task.observations.index(name.split("|")[-1]) for name in stacked.observations]
    policies = np.random.default_rng(0).dirichlet(np.ones(task.num_actions), (8, task.num_observations))
    np.testing.assert_allclose(
        evaluate_memoryless(stacked, policies[:, newest]), evaluate_memoryless(task, policies), atol=1e-12
    )
    np.testing.assert_allclose(history(stacked), history(task), atol=1e-8)


@pytest.mark.parametrize("seed", [0, 11])
def test_two_frames_are_worth_more_than_one_and_no_more_than_the_history(seed, random_task):
    task = random_task(seed, horizon=HORIZON)
    base, two = solve_anew(task).values, solve_anew(frame_stack(task, 2)).values
    for name in ("memoryless_deterministic", "memoryless_stochastic"):
        assert base[name].upper < two[name].lower <= base["history"].upper + 1e-8


def test_who_is_never_obeyed_again_chooses_one_action(task):
    """With probability 1 the first action, chosen by the first observation, is executed to the end."""
    seen = (task.initial[:, None] * task.initial_observation).T
    best = 0.0
    for joint in seen[seen.any(1)]:
        begun = [
            expected_return(replace(task, initial=joint / joint.sum()), (a,) * task.horizon)
            for a in range(task.num_actions)
        ]
        best += joint.sum() * max(begun)
    np.testing.assert_allclose(history(sticky(task, 1.0)), best, atol=1e-8)
    np.testing.assert_allclose(history(sticky(task, 0.0)), history(task), atol=1e-8)


def test_as_many_frames_as_the_answer_is_old_are_enough():
    """One that was shown a step ago is right in all but the first step, which is a guess."""
    values = solve_anew(make("repeat_previous:delay=1,horizon=6,frame_stack=2")).values
    interval = values["memoryless_deterministic"]
    np.testing.assert_allclose([interval.lower, interval.upper], 5.0, atol=1e-6)


def test_a_flicker_of_what_flickers_is_a_stronger_one():
    """The task has a blank of its own, and another one would be no more blank. An end is never acted on."""
    twice = make("flicker_grid:size=4,blank=0.5,flicker=0.4")
    once = make("flicker_grid:size=4,blank=0.7")
    assert twice.observations == once.observations
    going = ~once.terminal
    np.testing.assert_allclose(twice.observation[:, going], once.observation[:, going], atol=1e-12)
    np.testing.assert_allclose(twice.initial_observation[going], once.initial_observation[going], atol=1e-12)


@pytest.fixture
def called_blank():
    """One of two states is drawn in each step and pays if it is named; one of them is called `blank`."""
    names = ["blank", "full"]
    return build(
        name="called_blank",
        states=names,
        actions=["none", *names],
        observations=names,
        start=uniform(names),
        step=lambda state, action: {goes(after, float(state == action)): 0.5 for after in names},
        observe=lambda state: state,
        discount=1.0,
        horizon=4,
    )


def test_an_observation_that_is_only_called_blank_is_not_taken_for_one(called_blank):
    """A lost observation costs half a guess, 4 (1 - p / 2), whatever the two are called."""
    names = called_blank.observations
    assert flicker(called_blank, 0.3).observations == (*names, "blank_2")
    assert history(flicker(called_blank, 0.3)) == pytest.approx(4 * 0.85)
    assert delay(called_blank, 1).observations == (*names, "blank_2")
    assert frame_stack(called_blank, 2).observations[-2:] == ("blank_2|blank", "blank_2|full")
    assert flicker(delay(called_blank, 1), 0.3).observations == (*names, "blank_2")
    assert previous_action(called_blank).observations[:3] == ("none_2|blank", "none_2|full", "none|blank")


def test_an_all_blank_stack_is_the_blank_of_what_is_stacked():
    stacked = frame_stack(flicker(make("tiger"), 0.3), 2)
    assert stacked.blank == "blank|blank" and flicker(stacked, 0.3).observations == stacked.observations
    assert frame_stack(make("tiger"), 2).blank is None and previous_action(stacked).blank is None
    assert make("flicker_grid:observed=true").blank is None and make("flicker_grid").blank == "blank"


def test_a_blank_is_one_of_the_observations():
    with pytest.raises(TaskError, match="the blank 'dark' is none of its observations"):
        validated(replace(make("tiger"), blank="dark"))


def test_an_observed_task_that_is_seen_late_is_hidden():
    """One of two sides is drawn in each step and pays if it is named: what was a step ago tells nothing of it."""
    task = build(
        name="named",
        states=["left", "right"],
        actions=["left", "right"],
        observations=["left", "right"],
        start=uniform(["left", "right"]),
        step=lambda state, action: {goes(after, float(state == action)): 0.5 for after in ("left", "right")},
        observe=lambda state: state,
        discount=1.0,
        horizon=4,
    )
    assert history(task) == pytest.approx(4) and history(delay(task, 1)) == pytest.approx(2)
    # A blank of probability p costs a guess: 4 (1 - p / 2).
    assert history(flicker(task, 0.3)) == pytest.approx(4 * 0.85)
    # From the second step on, the last action is executed with probability .25, and half of the time it is the other.
    assert history(sticky(task, 0.25)) == pytest.approx(1 + 3 * 0.875)


@pytest.mark.parametrize("neutral", ["flicker=0", "sticky=0", "delay=0", "frame_stack=1", "time=false"])
def test_values_that_change_nothing_leave_the_task_as_it_is(neutral):
    assert fingerprint(make(f"tiger:{neutral}")) == fingerprint(make("tiger"))


def test_wrappers_of_a_task_are_keys_of_its_name():
    tiger = make("tiger")
    for key, wrapped in (
        ("flicker=0.3", flicker(tiger, 0.3)),
        ("sticky=0.25", sticky(tiger, 0.25)),
        ("delay=1", delay(tiger, 1)),
        ("frame_stack=2", frame_stack(tiger, 2)),
    ):
        made = make(f"tiger:{key}")
        assert fingerprint(made) == fingerprint(wrapped) != fingerprint(tiger)
        assert made.name == f"tiger:{key}" and made.observations == wrapped.observations


def test_a_key_of_its_own_goes_before_a_wrapper():
    assert fingerprint(make("repeat_previous:delay=2")) == fingerprint(make("repeat_previous"))


@pytest.mark.parametrize("wrap", [flicker, sticky])
@pytest.mark.parametrize("probability", [-0.1, 1.1])
def test_no_probability_is_refused(wrap, probability):
    with pytest.raises(SpecError, match=rf"^probability is {probability}, expected a number >= 0 and <= 1"):
        wrap(make("tiger"), probability)


@pytest.mark.parametrize("spec", ["tmaze:frame_stack=1000", "tiger:delay=1000", "rock_sample:size=4,delay=6"])
def test_a_stack_that_would_not_fit_is_refused(spec):
    with pytest.raises(TaskError, match="states, more than its tables can hold"):
        make(spec)


def test_where_nothing_else_can_happen_a_long_delay_fits():
    """Behind a locked door there is one observation; no more frames are kept than an episode has."""
    task = make("locked_doors:delay=1000")
    assert task.num_states < 50
    assert {o for seen, _ in law(task, (0,) * 3) for o in seen} == {"blank"}
