"""Both forms of a wrapper have the law that its definition gives to sequences of observations and rewards."""

import math
from collections import Counter
from dataclasses import replace
from itertools import product

import jax
import numpy as np
import pytest
from sequences import assert_drawn_from, assert_equal, law, mapped, mixed, sampled

from seqrl_jax.tasks import tabular_env, tabular_params
from seqrl_jax.tasks.ready import Ready
from seqrl_jax.tasks.tabular import fingerprint
from seqrl_jax.tasks.wrappers import (
    delay,
    delay_env,
    flicker,
    flicker_env,
    frame_stack,
    frame_stack_env,
    previous_action,
    previous_action_env,
    previous_reward,
    previous_reward_env,
    sticky,
    sticky_env,
    with_time,
)
from seqrl_jax.tasks.wrappers.registry import wrapped_environment, wrapped_table

SEEDS = range(4)
DRAWS = 20_000
ACTIONS = (0, 1, 1)
ALL = {"previous_action": True, "frame_stack": 2, "flicker": 0.3, "delay": 1, "sticky": 0.25}


@pytest.fixture(params=SEEDS)
def task(request, random_task):
    """Small, and half of them with an end; no horizon is shorter than the actions."""
    return random_task(request.param, horizon=len(ACTIONS))


def lost(probability):
    """Every observation of a course is blank or not, independently."""

    def change(seen, paid):
        courses = Counter()
        for gone in product((False, True), repeat=len(seen)):
            shown = tuple("blank" if blank else o for blank, o in zip(gone, seen, strict=True))
            courses[shown, paid] += math.prod(probability if blank else 1 - probability for blank in gone)
        return courses

    return change


def late(steps):
    return lambda seen, paid: {((("blank",) * steps + seen)[: len(seen)], paid): 1.0}


def stacked(frames):
    def change(seen, paid):
        padded = ("blank",) * (frames - 1) + seen
        return {(tuple("|".join(padded[t : t + frames]) for t in range(len(seen))), paid): 1.0}

    return change


def after_action(task, actions):
    marks = ("none", *(task.actions[a] for a in actions))
    return lambda seen, paid: {(tuple(f"{m}|{o}" for m, o in zip(marks, seen, strict=False)), paid): 1.0}


def obeyed(task, actions, probability):
    """The mixture over what is executed instead: a Markov chain on executed actions."""
    laws = []
    for executed in product(range(task.num_actions), repeat=len(actions)):
        weight = float(executed[0] == actions[0])
        for last, done, chosen in zip(executed, executed[1:], actions[1:], strict=False):
            weight *= probability * (done == last) + (1 - probability) * (done == chosen)
        laws.append((weight, law(task, executed)))
    return mixed(laws)


@pytest.mark.parametrize("probability", [0.0, 0.3, 1.0])
def test_flicker_loses_each_observation_by_itself(task, probability):
    expected = mapped(law(task, ACTIONS), lost(probability))
    assert_equal(law(flicker(task, probability), ACTIONS), expected)


@pytest.mark.parametrize("steps", [0, 1, 5])
def test_a_delay_shifts_what_is_seen(task, steps):
    assert_equal(law(delay(task, steps), ACTIONS), mapped(law(task, ACTIONS), late(steps)))


@pytest.mark.parametrize("frames", [1, 2, 3])
def test_a_stack_shows_the_last_observations(task, frames):
    assert_equal(law(frame_stack(task, frames), ACTIONS), mapped(law(task, ACTIONS), stacked(frames)))


@pytest.mark.parametrize("probability", [0.0, 0.25, 1.0])
def test_sticky_actions_are_a_chain_of_what_is_executed(task, probability):
    assert_equal(law(sticky(task, probability), ACTIONS), obeyed(task, ACTIONS, probability))


def test_the_last_action_the_last_reward_and_the_time_stand_before_the_observation(task):
    base = law(task, ACTIONS)
    assert_equal(law(previous_action(task), ACTIONS), mapped(base, after_action(task, ACTIONS)))
    timed = lambda seen, paid: {(tuple(f"{t}|{o}" for t, o in enumerate(seen)), paid): 1.0}
    assert_equal(law(with_time(task), ACTIONS), mapped(base, timed))
    short = lambda name: name if name.startswith("none") else f"{float(name.split('|')[0]):.2f}|{name.split('|')[1]}"
    rounded = lambda seen, paid: {(tuple(map(short, seen)), paid): 1.0}
    shown = lambda seen, paid: {
        ((f"none|{seen[0]}", *(f"{r:.2f}|{o}" for r, o in zip(paid, seen[1:], strict=True))), paid): 1.0
    }
    assert_equal(mapped(law(previous_reward(task), ACTIONS), rounded), mapped(base, shown))


def test_all_wrappers_together_are_applied_in_the_order_that_is_written(task):
    expected = obeyed(task, ACTIONS, 0.25)
    for change in (late(1), lost(0.3), stacked(2), after_action(task, ACTIONS)):
        expected = mapped(expected, change)
    assert_equal(law(wrapped_table(task, ALL), ACTIONS), expected)


def named(task):
    """Readers of what each environment form shows, by the names of the table."""
    names = (*task.observations, "blank")
    frame = lambda code: names[np.argmax(code)] if code.any() else "blank"
    size = task.num_observations

    frames = lambda obs: "|".join(map(frame, obs.reshape(-1, size)))

    def acted(obs):
        code = obs[-task.num_actions :]
        return f"{task.actions[np.argmax(code)] if code.any() else 'none'}|{frames(obs[: -task.num_actions])}"

    return {
        "symbol": lambda obs: names[obs],
        "frames": frames,
        "acted": acted,
        "paid": lambda obs: f"{round(float(obs[-1]), 2)}|{frame(obs[:-1])}",
    }


@pytest.mark.parametrize(
    ("of_environment", "of_table", "reader"),
    [
        (lambda ready: flicker_env(ready, 0.3), lambda task: flicker(task, 0.3), "symbol"),
        (lambda ready: delay_env(ready, 2), lambda task: delay(task, 2), "symbol"),
        (lambda ready: sticky_env(ready, 0.4), lambda task: sticky(task, 0.4), "symbol"),
        (lambda ready: frame_stack_env(ready, 2), lambda task: frame_stack(task, 2), "frames"),
        (previous_action_env, previous_action, "acted"),
        (lambda ready: wrapped_environment(ready, ALL), lambda task: wrapped_table(task, ALL), "acted"),
    ],
)
def test_the_environment_form_draws_from_the_law_of_the_table(of_environment, of_table, reader, task):
    """Chi-squared at 1e-4: 24 tests, so a false alarm in 3 of 1,000 choices of keys."""
    ready = of_environment(Ready(tabular_env(task), tabular_params(task)))
    counts = sampled(ready.env, ready.params, ACTIONS, DRAWS, named(task)[reader], jax.random.key(3))
    assert_drawn_from(law(of_table(task), ACTIONS), counts)


def test_the_environment_form_shows_the_reward_that_was(task):
    ready = previous_reward_env(Ready(tabular_env(task), tabular_params(task)))
    shown = lambda seen, paid: {(tuple(f"{r}|{o}" for r, o in zip((0.0, *paid), seen, strict=True)), paid): 1.0}
    counts = sampled(ready.env, ready.params, ACTIONS, DRAWS, named(task)["paid"], jax.random.key(3))
    assert_drawn_from(mapped(law(task, ACTIONS), shown), counts)


def test_a_law_that_is_not_drawn_from_is_found(random_task):
    """The test above can fail: 20,000 draws tell flicker of .3 from one of .33, and a delay from none."""
    task = random_task(1)
    ready = flicker_env(Ready(tabular_env(task), tabular_params(task)), 0.33)
    counts = sampled(ready.env, ready.params, ACTIONS, DRAWS, named(task)["symbol"], jax.random.key(0))
    for other in (flicker(task, 0.3), delay(task, 1)):
        with pytest.raises(AssertionError):
            assert_drawn_from(law(other, ACTIONS), counts)


@pytest.mark.parametrize("wrap", [lambda task: frame_stack(task, 2), lambda task: sticky(task, 0.5), previous_action])
def test_names_that_hold_what_joins_them_stay_apart(wrap, random_task):
    """Of two pairs that would have one name one has a number behind it; what they are called changes no number."""
    plain = random_task(0)
    named = lambda names: tuple("|".join("a" * (number + 1)) for number in range(len(names)))
    barred = replace(
        plain, states=named(plain.states), actions=named(plain.actions), observations=named(plain.observations)
    )
    wrapped = wrap(barred)
    assert fingerprint(wrapped) == fingerprint(wrap(plain))
    assert len(set(wrapped.observations)) == wrapped.num_observations
    assert any(name.endswith("_2") for name in (*wrapped.states, *wrapped.observations))
