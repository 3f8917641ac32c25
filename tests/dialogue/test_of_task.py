"""A tabular task as a game of dialogues: the same values, logs by who acts as if nothing were hidden."""

import numpy as np
import pytest

from seqrl_jax.dialogue.exact import Known
from seqrl_jax.dialogue.files import LogError, read_log, write_log
from seqrl_jax.dialogue.logs import logged
from seqrl_jax.dialogue.registry import make_game
from seqrl_jax.dialogue.views import spelling
from seqrl_jax.naming import SpecError, without
from seqrl_jax.tasks import make
from seqrl_jax.tasks.environments import environment

SPECS = ("tmaze:length=3", "tiger", "peek_maze", "repeat_previous:horizon=8", "mini_hallway:cells=6", "two_doors")


@pytest.mark.parametrize("spec", SPECS)
def test_the_values_are_the_tasks_own(spec, solved):
    task, solution = solved(spec)
    game, values = make_game(f"task:{spec}"), solution.values
    known = Known(game)
    history = values["history"]
    assert history.lower - 1e-9 <= known.value(known.best) <= history.upper + 1e-9 and history.is_exact
    idle = Known(make_game(f"task:{spec},expert=0" if ":" in spec else f"task:{spec}:expert=0"))
    assert idle.value(idle.logged) == pytest.approx(values["random"].lower, abs=1e-9)
    for view in ("utterance", "token"):
        assert len(spelling(game, view).said) == task.num_actions


def test_an_expert_that_sees_all_is_the_optimum_of_an_observed_task(solved):
    known = Known(make_game("task:flicker_grid:observed=true,expert=1"))
    values = solved("flicker_grid:observed=true")[1].values
    # Q with the whole horizon to go is not Q of each step: close where the horizon does not press.
    assert known.value(known.logged) == pytest.approx(values["state"].lower, rel=0.01)


def test_the_expert_takes_doubt_to_end_with_the_next_step():
    """Q-MDP of the tiger task: a door is worth its reward, listening that of the right door one step later."""
    game, task = make_game("task:tiger"), make("tiger")
    merit = game.speakers[0].merit[task.states.index("left")]
    worth = dict(zip(game.task.actions, merit, strict=True))
    assert worth == pytest.approx({"do-listen": -1 + task.discount * 10, "do-open-left": -100, "do-open-right": 10})


def test_an_environment_that_is_small_enough_for_a_table_is_a_game():
    spec = "minesweeper:rows=2,columns=2,mines=1"
    known, history = Known(make_game(f"task:{spec}")), environment(spec).certified["history"]
    assert known.value(known.best) == pytest.approx(history.lower, abs=1e-9)


def test_logs_are_files_of_their_own_task(tmp_path):
    game, spec = make_game("task:tiger"), "task:tiger"
    log, path = logged(game, 20, 0), tmp_path / "log.jsonl"
    write_log(path, spec, game, log, 0)
    back = read_log(path, game)
    np.testing.assert_array_equal(back.utterance, log.utterance)
    np.testing.assert_array_equal(back.reply, log.reply)
    with pytest.raises(LogError, match=r"line 1: a dialogue of 'task:tiger', not of tmaze"):
        read_log(path, make_game("task:tmaze"))


@pytest.mark.parametrize(
    ("spec", "why"),
    [
        ("task:tigre", "tiger"),
        ("task:tiger:expert=2", "expert"),
        ("task:tiger:expert=", "expert"),
        ("task:", "name is missing"),
        ("task:tiger:accuracy=7", "accuracy"),
        ("tiger", "as a game of dialogues it is task:tiger"),
        ("tiger:expert=0.5", "as a game of dialogues it is task:tiger:expert=0.5"),
        ("wordl:easy", "not of the form key=value"),
        ("task:memory_chain", "'memory_chain' is an environment, and no table"),
        ("memory_chain", "'memory_chain' is an environment, and no table"),
        ("gymnax:CartPole-v1", "'gymnax:CartPole-v1' is an environment, and no table"),
    ],
)
def test_a_task_that_is_none_is_refused(spec, why):
    with pytest.raises(SpecError, match=why):
        make_game(spec)


@pytest.mark.parametrize(
    ("spec", "left"),
    [
        ("tiger:expert=1", ("tiger", "1")),
        ("tiger:expert=1,horizon=3", ("tiger:horizon=3", "1")),
        ("tiger:horizon=3,expert=1", ("tiger:horizon=3", "1")),
        ("tiger:a=1,expert=2,b=3", ("tiger:a=1,b=3", "2")),
        ("tiger:my_expert=1", ("tiger:my_expert=1", None)),
        ("tiger", ("tiger", None)),
    ],
)
def test_one_setting_is_taken_out_of_a_name(spec, left):
    assert without(spec, "expert") == left
