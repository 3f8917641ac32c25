"""A task that cannot be is refused, and the message names the place."""

from dataclasses import replace

import numpy as np
import pytest

from seqrl_jax.tasks import TaskError, build, ends, goes, make, validated


def changed(field, index, value):
    task = make("tiger")
    array = np.array(getattr(task, field))
    array[index] = value
    return replace(task, **{field: array})


@pytest.mark.parametrize(
    ("task", "said"),
    [
        (changed("transition", (1, 0, 2), 0.9), "transition[action 'open_left', state 'left'] sums to 0.9"),
        (changed("observation", (0, 1, 1), 0.5), "observation[action 'listen', state 'right'] sums to 1.35"),
        (
            changed("initial_observation", (0, 0), np.nan),
            "initial_observation[state 'left'] holds a number that is not",
        ),
        (changed("initial", 0, -0.5), "initial holds the negative probability -0.5"),
        (changed("reward", (2, 0, 2), np.inf), "reward[action 'open_right', state 'left', next 'end'] is inf"),
        (changed("reward", (2, 2, 2), 1.0), "terminal state 'end' pays"),
        (changed("terminal", 0, True), "terminal state 'left' can be left"),
        (replace(make("tiger"), reward=np.zeros((3, 2, 2))), "reward has shape [3, 2, 2], expected [3, 3, 3]"),
        (replace(make("tiger"), actions=("a", "b", "a")), "action name 'a' stands twice"),
        (replace(make("tiger"), horizon=2.5), "horizon is 2.5"),
        (replace(make("tiger"), discount=0.0), "discount is 0.0"),
    ],
)
def test_a_fault_is_named_with_its_place(task, said):
    with pytest.raises(TaskError) as caught:
        validated(task)
    assert said in str(caught.value)


def test_an_episode_cannot_start_at_its_end():
    with pytest.raises(TaskError, match="start in the terminal state"):
        build(
            name="none",
            states=["s"],
            actions=["a"],
            observations=["o"],
            start={"end": 1.0},
            step=lambda *_: ends(0.0),
            observe=lambda _: "o",
            discount=1.0,
            horizon=1,
        )


def test_a_task_without_an_ending_has_no_end():
    task = build(
        name="loop",
        states=["s"],
        actions=["a"],
        observations=["o"],
        start={"s": 1.0},
        step=lambda *_: goes("s", 2.0),
        observe=lambda _: "o",
        discount=1.0,
        horizon=3,
    )
    assert task.states == ("s",) and not task.terminal.any() and task.reward[0, 0, 0] == 2.0
