"""What is known of each game, by closed forms and by a second count."""

import itertools
import os
import subprocess
import sys

import jax
import numpy as np
import pytest

from seqrl_jax.dialogue.exact import Known, divergence, evaluated, turns
from seqrl_jax.dialogue.game import behaviour, words
from seqrl_jax.dialogue.games.wordle import EVERY, marks
from seqrl_jax.dialogue.registry import GAMES, make_game
from seqrl_jax.naming import SpecError

SMALL = (
    "twenty_questions:objects=6,turns=5",
    "twenty_questions:objects=4,turns=4,noise=0.2",
    "visual_dialogue:turns=3",
    "wordle:words=8,guesses=4",
    "negotiation:turns=4",
    "small_talk:turns=4",
    "tool_arithmetic:operations=1,turns=3",
    "text_maze:turns=8",
    "task_and_talk:values=2,turns=4,noise=0.2",
)


@pytest.fixture(scope="module", params=SMALL)
def known(request):
    return Known(make_game(request.param))


@pytest.mark.parametrize(
    ("spec", "optimum"),
    [
        ("twenty_questions", -3.5),
        ("visual_dialogue", -2.0),
        ("wordle:words=32", -1.3125),
        ("wordle", -1.65625),
    ],
)
def test_optima_are_those_of_independent_computations(spec, optimum):
    known = Known(make_game(spec))
    assert known.value(known.best) == pytest.approx(optimum, abs=1e-9)


def test_marks_are_wordles():
    assert marks("abc", "abc") == "ggg" and marks("abc", "bca") == "yyy" and marks("aab", "caa") == "bgy"
    # A letter that stands once is marked once, in its place before elsewhere.
    assert marks("abc", "aaa") == "gbb" and marks("bca", "aad") == "ybb"
    assert len(EVERY) == 64


def test_speakers_say_something_everywhere(known):
    law = known.behaviour
    assert (law >= 0).all()
    np.testing.assert_allclose(law.sum(1), 1)


def test_the_values_lie_in_order(known):
    """Random speakers <= regularised less its price <= best; more freedom is never worse."""
    logged, best = known.value(known.logged), known.value(known.best)
    assert logged < best
    softs = [known.value(known.regularised(beta)) for beta in (0.01, 0.1, 1.0, 10.0, 1e4)]
    assert all(a >= b - 1e-9 for a, b in itertools.pairwise(softs))
    assert best >= softs[0] - 1e-9 and softs[-1] == pytest.approx(logged, abs=1e-2 * max(1, abs(logged)))


def test_the_regularised_optimum_is_its_own_objective(known):
    """E[return] - beta KL of the policy, by two other recursions, is the value that the first one gave."""
    plan, graph = known.regularised(0.7), known.beliefs.graph
    earned = known.value(evaluated(graph, plan.policy))
    assert known.value(plan) == pytest.approx(earned - 0.7 * divergence(graph, plan.policy, known.behaviour), abs=1e-8)


def test_what_the_logs_never_show_is_not_said(known):
    graph = known.beliefs.graph
    rng = np.random.default_rng(0)
    seen = rng.random((known.horizon, *graph.reward.shape)) < 0.4
    plan = known.supported(seen)
    somewhere = seen.any(2, keepdims=True)
    assert (plan.policy[~seen & np.broadcast_to(somewhere, seen.shape)] == 0).all()
    assert known.value(known.logged) - 20 < known.value(plan) <= known.value(known.best) + 1e-9
    assert known.value(known.supported(np.ones_like(seen))) == pytest.approx(known.value(known.best))
    assert known.value(known.supported(np.zeros_like(seen))) == pytest.approx(known.value(known.logged))


def test_turns_are_counted_to_the_end():
    known = Known(make_game("twenty_questions:objects=2,turns=3"))
    always_guess_first = np.zeros((3, *known.beliefs.graph.reward.shape))
    always_guess_first[..., known.game.task.actions.index("guess_o0")] = 1
    assert turns(known.beliefs.graph, always_guess_first) == pytest.approx(0.5 * 1 + 0.5 * 3)
    assert divergence(known.beliefs.graph, known.logged.policy, known.behaviour) == pytest.approx(0, abs=1e-12)


def test_small_talk_is_worth_the_same_however_random_the_user():
    values = []
    for noise in (0.0, 0.3, 1.0):
        known = Known(make_game(f"small_talk:noise={noise}"))
        values.append((known.value(known.best), known.value(known.logged)))
    np.testing.assert_allclose(values, values[:1] * 3, atol=1e-9)


def test_one_call_tells_a_lot():
    """One operation, five numbers: asking once and answering pays 1 less the call, guessing one in three."""
    known = Known(make_game("tool_arithmetic:operations=1,turns=2"))
    assert known.value(known.best) == pytest.approx(0.98)
    known = Known(make_game("tool_arithmetic:operations=1,turns=1"))
    # Two of five numbers have meanings that agree: 1 + 1 = 2 * 1, 2 + 2 = 2 * 2.
    assert known.value(known.best) == pytest.approx((3 * 1 / 3 + 2 * 2 / 3) / 5)


@pytest.mark.parametrize("values", [2, 3, 4])
@pytest.mark.parametrize("noise", [0.0, 0.1, 0.3])
def test_answers_are_worth_what_their_majority_is(values, noise):
    """A third question alone is worth nothing: of two answers to one question neither outvotes the other. A fourth buys
    a third answer where two differ, and leaves one question for the other attribute."""
    true, wrong = 1 - noise, noise / (values - 1)
    majority = true**2 + 2 * noise * true**2 + (values - 2) * true * noise * wrong
    optima = {1: 1 / values**2, 2: true / values, 3: true**2, 4: true**2, 5: true * majority}
    for horizon, optimum in optima.items():
        known = Known(make_game(f"task_and_talk:values={values},noise={noise},turns={horizon}"))
        assert known.value(known.best) == pytest.approx(optimum)


def test_symbols_mean_what_was_asked():
    """The second symbol is for green where the colour was asked for, for a triangle where the shape was."""
    task = make_game("task_and_talk").task
    things = np.array([[int(value) for value in state.split("_")[2:]] for state in task.states if state != "end"])
    for attribute, said in enumerate(("ask_colour", "ask_shape", "ask_style")):
        law = task.observation[task.actions.index(said), :-1, task.observations.index("two")]
        np.testing.assert_array_equal(law, things[:, attribute] == 1)
    green = task.reward[task.actions.index("guess_green_triangle"), :-1, -1]
    tasks = np.array([state.startswith("colour_shape") for state in task.states if state != "end"])
    np.testing.assert_array_equal(green, tasks & (things[:, :2] == 1).all(1))


def test_words_are_the_parts_of_a_name():
    assert words("is_it_red") == ("is", "it", "red")


@pytest.mark.parametrize("spec", ["twenty_question", "wordle:words=65", "negotiation:accepts=2", "small_talk:moods=3"])
def test_unknown_games_and_settings_are_named(spec):
    with pytest.raises(SpecError):
        make_game(spec)


@pytest.mark.parametrize("name", GAMES)
def test_a_game_is_the_same_in_every_process(name):
    """Two makes agree, tables and speakers; for processes see below."""
    one, two = make_game(name), make_game(name)
    assert all(
        np.array_equal(getattr(one.task, field), getattr(two.task, field))
        for field in ("initial", "transition", "observation", "reward")
    )
    belief = np.random.default_rng(0).dirichlet(np.ones(one.task.num_states), 5)
    np.testing.assert_array_equal(behaviour(one, belief), behaviour(two, belief))


DIGESTS = """
import hashlib
from seqrl_jax.dialogue.logs import logger
from seqrl_jax.dialogue.registry import GAMES, make_game
from seqrl_jax.tasks.tabular import fingerprint
for name in GAMES:
    game = make_game(name)
    log = logger(game)(3, 5)
    digest = hashlib.sha256(log.utterance.tobytes() + log.reply.tobytes())
    print(name, fingerprint(game.task), game.task.actions[:5], digest.hexdigest())
"""


def test_games_and_logs_do_not_depend_on_the_order_of_a_process(capsys):
    """Sets and hashes of words are in another order in every process: here, and in one of its own."""
    order = "2" if os.environ.get("PYTHONHASHSEED") == "1" else "1"
    other = subprocess.run(
        [sys.executable, "-c", DIGESTS],
        env={**os.environ, "PYTHONHASHSEED": order, "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
        check=True,
    )
    with jax.default_device(jax.devices("cpu")[0]):
        exec(DIGESTS, {})
    assert capsys.readouterr().out == other.stdout != ""


def test_an_environment_that_is_no_table_is_no_game():
    with pytest.raises(SpecError, match=r"^'gymnax:CartPole-v1' is an environment, and no table"):
        make_game("task:gymnax:CartPole-v1")
