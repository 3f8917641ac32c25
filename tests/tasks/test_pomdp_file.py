"""A `.POMDP` file says what its grammar says, comes back as it was written, and fails in one clear line."""

import os
import pickle
import re
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from seqrl_jax.tasks.pomdp_file import (
    DEFAULT_HORIZON,
    PomdpFileError,
    format_pomdp,
    parse_pomdp,
    read_pomdp,
    write_pomdp,
)
from seqrl_jax.tasks.pomdp_tokens import KEYWORDS
from seqrl_jax.tasks.tabular import TabularPOMDP, TaskError, arrays, fingerprint, validated

SAMPLES = Path(__file__).resolve().parents[3] / "shared" / "pomdp"
with_samples = pytest.mark.skipif(not SAMPLES.is_dir(), reason="the sample files are not here")

PREAMBLE = "discount: 0.9\nvalues: reward\nstates: a b c\nactions: go stay\nobservations: x y\n"
DYNAMICS = "T: * uniform\nO: * uniform\n"


def body(text: str, start: str = "") -> TabularPOMDP:
    """The task of three states whose entries after the preamble are `text`."""
    return parse_pomdp(PREAMBLE + start + text)


def fault(text: str) -> PomdpFileError:
    with pytest.raises(PomdpFileError) as caught:
        parse_pomdp(text, source="f.POMDP")
    assert str(caught.value).startswith("f.POMDP:") and "\n" not in str(caught.value)
    return caught.value


def assert_same(left: TabularPOMDP, right: TabularPOMDP) -> None:
    for name, value in arrays(left).items():
        np.testing.assert_array_equal(value, arrays(right)[name], err_msg=name)
    assert fingerprint(left) == fingerprint(right)
    assert (left.states, left.actions, left.observations) == (right.states, right.actions, right.observations)


# The preamble


def test_preamble_comes_in_any_order_and_colons_may_be_glued():
    text = "observations:x y\nactions :go stay # two\nstates:a b c\nvalues : reward\ndiscount:.5\n" + DYNAMICS
    task = parse_pomdp(text, source="folder/maze.95.POMDP")
    assert task.name == "maze.95"
    assert (task.states, task.actions, task.discount) == (("a", "b", "c"), ("go", "stay"), 0.5)


def test_a_count_names_its_elements_by_number():
    task = parse_pomdp("discount: 1\nstates: 3\nactions: 2\nobservations: 2\nT: 1 identity\nT: 0 uniform\nO: * uniform")
    assert task.states == ("0", "1", "2") and task.actions == ("0", "1")
    assert task.observations == ("0", "1", "none")
    np.testing.assert_array_equal(task.transition[1], np.eye(3))


@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
def test_line_endings_and_byte_order_mark_do_not_matter(tmp_path, ending):
    path = tmp_path / "t.POMDP"
    path.write_bytes(b"\xef\xbb\xbf" + (PREAMBLE + "# a comment\n" + DYNAMICS).replace("\n", ending).encode())
    assert_same(read_pomdp(path), body(DYNAMICS))


def test_costs_are_negative_rewards():
    entries = DYNAMICS + "R: go : a : * : * 2"
    task = parse_pomdp(PREAMBLE.replace("reward", "cost") + entries)
    np.testing.assert_array_equal(task.reward, -body(entries).reward)
    assert not np.signbit(task.reward[1]).any()


# The start


@pytest.mark.parametrize(
    ("start", "expected"),
    [
        ("", [1 / 3, 1 / 3, 1 / 3]),
        ("start: uniform", [1 / 3, 1 / 3, 1 / 3]),
        ("start: 0.5 .25 2.5e-1", [0.5, 0.25, 0.25]),
        ("start:\n0 1 0", [0, 1, 0]),
        ("start: b", [0, 1, 0]),
        ("start: 2", [0, 0, 1]),
        ("start include: a 2", [0.5, 0, 0.5]),
        ("start include : a", [1, 0, 0]),
        ("start exclude: b", [0.5, 0, 0.5]),
        ("start exclude: 0 1", [0, 0, 1]),
    ],
)
def test_start_in_every_form(start, expected):
    np.testing.assert_allclose(body(DYNAMICS, start + "\n").initial, expected, rtol=1e-15)


@pytest.mark.parametrize("start", ["start: 1", "start: 1.0", "start: 0", "start: a"])
def test_a_single_state_is_the_start_however_it_is_said(start):
    task = parse_pomdp(
        f"discount: 1\nstates: a\nactions: 1\nobservations: 1\n{start}\nT: * uniform\nO: * uniform\nR: 0:0:0:0 1"
    )
    np.testing.assert_array_equal(task.initial, [1])


def test_start_may_stand_inside_the_preamble():
    task = parse_pomdp("discount: 1\nstates: a b\nstart: b\nactions: 1\nobservations: 1\n" + DYNAMICS)
    np.testing.assert_array_equal(task.initial, [0, 1])


# T and O


def test_transitions_by_number_row_and_matrix():
    task = body(
        "T: go\n1 0 0\n0 .5 .5\n0.0 0 1e0\n"
        "T: stay : a\n0.25 0.25 0.5\n"
        "T: stay : b uniform\n"
        "T: stay : 2 : a 1.0\n"
        "O: * uniform"
    )
    np.testing.assert_array_equal(task.transition[0], [[1, 0, 0], [0, 0.5, 0.5], [0, 0, 1]])
    np.testing.assert_array_equal(task.transition[1], [[0.25, 0.25, 0.5], [1 / 3, 1 / 3, 1 / 3], [1, 0, 0]])


def test_reset_returns_to_the_start():
    task = body("T: go identity\nT: go : c reset\nT: stay reset\nO: * uniform", "start: 0.25 0.75 0\n")
    np.testing.assert_array_equal(task.transition[0], [[1, 0, 0], [0, 1, 0], [0.25, 0.75, 0]])
    np.testing.assert_array_equal(task.transition[1], [[0.25, 0.75, 0]] * 3)


def test_later_entries_override_and_wildcards_reach_everything():
    task = body(
        "T: * identity\nT: go : * : * 0\nT: go : * : a 1.0\nT: *:b\n0 0 1\n"
        "O: * uniform\nO:go\n1 0\n1 0\n0 1\nO : * : c\n0.5 0.5\nO: stay : * : x 1\nO: 1 : * : 1 0"
    )
    np.testing.assert_array_equal(task.transition[0], [[1, 0, 0], [0, 0, 1], [1, 0, 0]])
    np.testing.assert_array_equal(task.transition[1], [[1, 0, 0], [0, 0, 1], [0, 0, 1]])
    np.testing.assert_array_equal(task.observation[0, :, :2], [[1, 0], [1, 0], [0.5, 0.5]])
    np.testing.assert_array_equal(task.observation[1, :, :2], [[1, 0]] * 3)


def test_observations_may_be_the_states():
    text = "discount: 1\nstates: 2\nactions: 1\nobservations: 2\nT: * uniform\nO: 0 identity"
    np.testing.assert_array_equal(parse_pomdp(text).observation[0, :, :2], np.eye(2))


FORMS = [
    "T: {a} : {s} : {x} {p}",
    "T: * : {s} : {x} {p}",
    "O: {a} : {s} : {o} {p}",
    "R: {a} : {s} : {x} : * {v}",
    "R: {a} : {s} : * : * {v}",
    "\tT:{a}:{s} :{x}\x0b {p}\f",
    "O:*:{s}:{o}\t{p} ",
    "R:{a}:{s}:*:*{v}",
    "R : {a}\u2003:{s}:{x}: *\r{v}",
]
WORDS_OF = {"a": ["go", "1"], "s": ["a", "1", "c"], "x": ["0", "b", "c"], "o": ["x", "1"], "p": ["0", "1", "1e0"]}
WORDS_OF["v"] = ["-1", "+2.5", "0"]


@settings(max_examples=60)
@given(st.lists(st.sampled_from(FORMS), max_size=12), st.randoms(use_true_random=False))
def test_entries_read_together_are_those_read_word_by_word(forms, random):
    """A comment behind an entry sends it the long way. Numbers and names are mixed, later entries override earlier."""
    lines = ["T: * identity", "O: * uniform"]
    for form in forms:
        lines.append(form.format(**{key: random.choice(words) for key, words in WORDS_OF.items()}))
        if form.startswith("T") and random.random() < 0.8:
            lines.append(f"T: * : {random.choice('abc')} uniform")
    lines += [f"O: * : {s} : x 1\nO: * : {s} : y 0" for s in "abc"]
    text = PREAMBLE + "\n".join(lines)
    try:
        together = parse_pomdp(text, "f.POMDP")
    except PomdpFileError as error:
        with pytest.raises(PomdpFileError, match=re.escape(str(error))):
            parse_pomdp(text.replace("\n", " # c\n"), "f.POMDP")
    else:
        assert_same(together, parse_pomdp(text.replace("\n", " # c\n"), "f.POMDP"))


# R


def test_rewards_by_number_with_signs():
    task = body(DYNAMICS + "R: * : * : * : * -1\nR: go : a : * : * +2\nR: stay:1:c:* 1.5e1\nR: 0 : c : c : * - 3")
    np.testing.assert_array_equal(task.reward[0], [[2, 2, 2], [-1, -1, -1], [-1, -1, -3]])
    np.testing.assert_array_equal(task.reward[1], [[-1, -1, -1], [-1, -1, 15], [-1, -1, -1]])


def test_rewards_that_depend_on_the_observation_become_expectations():
    task = body(
        "T: * uniform\nO: *\n.25 .75\n1 0\n.5 .5\n"
        "R: go : * : * : * 7\n"
        "R: go : a : b : y 100\n"
        "R: go : a : c\n1 2\n"
        "R: go : b\n4 0\n8 0\n5 5\n"
        "R: stay : a : a : x 8"
    )
    np.testing.assert_array_equal(task.reward[0], [[7, 7, 1.5], [1, 8, 5], [7, 7, 7]])
    np.testing.assert_array_equal(task.reward[1], [[2, 0, 0], [0, 0, 0], [0, 0, 0]])


def test_rewards_for_every_observation_are_kept_to_the_last_bit():
    """0.1 is no binary fraction: an average over 0.85 and 0.15 would not give it back."""
    task = body("T: * uniform\nO: *\n.85 .15\n.7 .3\n.6 .4\nR: go : * : * : * 0.1\nR: go : a : a : y 1")
    assert task.reward[0, 1, 1] == 0.1


def test_rewards_of_many_observations_need_no_array_over_them():
    """8000 observations and 120 states: S x S x O numbers would be over the limit and must not be needed."""
    text = "discount: 1\nstates: 120\nactions: 1\nobservations: 8000\nT: * uniform\nO: * uniform\n"
    assert parse_pomdp(text + "R: * : * : 5 : * 1").reward[0, 3, 5] == 1
    assert "at most" in str(fault(text + "R: * : * : 5 : 5 1"))


# What the format leaves open


def test_an_observation_that_says_nothing_comes_first_and_never_again():
    task = body(DYNAMICS)
    assert task.observations == ("x", "y", "none")
    np.testing.assert_array_equal(task.initial_observation, [[0, 0, 1]] * 3)
    assert not task.observation[:, :, 2].any()


def test_the_first_observation_takes_a_name_that_is_free():
    task = parse_pomdp(PREAMBLE.replace("x y", "none none_") + DYNAMICS)
    assert task.observations == ("none", "none_", "none__")


def test_an_idle_state_that_pays_nothing_is_terminal():
    dynamics = "T: * : * : c 1\nO: * uniform\n"
    assert body(dynamics, "start: a\n").terminal.tolist() == [False, False, True]
    assert not body(dynamics, "start: uniform\n").terminal.any()
    assert not body(dynamics + "R: stay : c : * : * 1", "start: a\n").terminal.any()
    assert not body("T: * : * : c 1\nT: go : c uniform\nO: * uniform", "start: a\n").terminal.any()


def test_horizon_is_the_argument_else_the_annotation_else_the_default():
    annotated = PREAMBLE + DYNAMICS + "# seqrl: horizon 7"
    assert body(DYNAMICS).horizon == DEFAULT_HORIZON
    assert parse_pomdp(annotated).horizon == 7
    assert parse_pomdp(annotated, horizon=3).horizon == 3
    with pytest.raises(TaskError, match="horizon"):
        parse_pomdp(annotated, horizon=0)


def test_rounded_rows_are_normalised_with_one_warning():
    rounded = "T: *\n0.33333 0.33333 0.33333\n0 1 0\n0 0 1\nO: * uniform\n"
    with pytest.warns(UserWarning) as caught:
        task = body(rounded, "start: 0.33333 0.33333 0.33333\n")
    assert len(caught) == 1
    assert re.search(r"normalised 3 rows, the first is 'T: go : a', which summed to 0\.99999", str(caught[0].message))
    np.testing.assert_allclose(task.transition.sum(-1), 1, atol=1e-12)
    np.testing.assert_allclose(task.initial.sum(), 1, atol=1e-12)


def test_rows_that_are_exact_are_left_alone():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        task = body("T: *\n0.1 0.2 0.7\n0 1 0\n0 0 1\nO: * uniform")
    np.testing.assert_array_equal(task.transition[0, 0], [0.1, 0.2, 0.7])


# Faults


@pytest.mark.parametrize(
    ("text", "line", "token", "says"),
    [
        ("", 1, "end of file", "'discount:' is missing"),
        ("discount: 0.9\nstates: 2\nactions: 1\nT: 0 uniform", 4, "T", "'observations:' is missing"),
        ("states: 2\nactions: 1\nobservations: 1\nT: 0 uniform", 4, "T", "'discount:' is missing"),
        ("discount: 2\n", 1, "2", "must lie in (0, 1]"),
        ("discount 0.9\n", 1, "0.9", "expected ':' after 'discount'"),
        ("discont: 0.9\n", 1, "discont", "did you mean 'discount'?"),
        ("discount: 0.9\ndiscount: 0.9", 2, "discount", "stands twice"),
        ("values: regret", 1, "regret", "'reward' or 'cost'"),
        ("values: costs", 1, "costs", "did you mean 'cost'?"),
        ("<?xml version='1.0'?>\n<pomdpx>", 1, "<?xml", "POMDPX file it seems, which is not supported"),
        (PREAMBLE + "E: * : c : *", 6, "E", "'E' entries are not supported; it marks the end of episodes"),
        (PREAMBLE + "T go : a : b 1", 6, "go", "expected ':' after 'T'"),
        (PREAMBLE + "T: go a : b 1", 6, "a", "found 0; is a ':' missing before it?"),
        (PREAMBLE + "t: go : a : b 1", 6, "t", "did you mean 'T'?"),
        (PREAMBLE + "T: * identity\nobservation: go : a : x 1", 7, "observation", "did you mean 'O'?"),
        (PREAMBLE + "T: * identity\nO: go : a : x 1\nO: go : b : z 1\n", 8, "z", "unknown observation"),
        (PREAMBLE + "T: * identity\nO: go : a : x 1\nO: go : b : x 2\n", 8, "2", "between 0 and 1"),
        (PREAMBLE + "R: go : a : * : * 1\nR: go : b : * : * 2\n3", 8, "3", "found more"),
        (PREAMBLE + "O: * uniform\nT: go\n1 0 0\n0 1 0\n0 0 .5\nT: stay identity", 10, "T: go : c", "sums to 0.5"),
        ("states: a b a", 1, "a", "stands twice"),
        ("states:\nactions: 2", 2, "actions", "number of states or their names"),
        ("states: 0", 1, "0", "between 1 and"),
        ("states: 999999999", 1, "999999999", "between 1 and"),
        ("start: uniform", 1, "start", "'states' must stand before"),
        ("discount: 1\nactions: 9\nobservations: 9\n\nstates: 8000\nT: * uniform", 6, "uniform", "at most"),
        (PREAMBLE + "start: 0.5 0.5\nT: * uniform", 7, "T", "expected 3 numbers here, found 2"),
        (PREAMBLE + "start: d", 6, "d", "unknown state"),
        (PREAMBLE + "start: *", 6, "*", "expected one state"),
        (PREAMBLE + "start: reset", 6, "reset", "expected 'uniform'"),
        (PREAMBLE + "start include:\nT: * uniform", 7, "T", "at least one state"),
        (PREAMBLE + "start exclude: a b c\n" + DYNAMICS, 6, "a", "leave one to start in"),
        (PREAMBLE + "start: 0.9 0 0\n" + DYNAMICS, 6, "start", "sums to 0.9, not to 1"),
        (PREAMBLE + DYNAMICS + "start: uniform", 8, "start", "before the first T, O or R"),
        (PREAMBLE + "T: * identity\n", 7, "O: go : a", "there is no entry for this row"),
        (PREAMBLE + "O: * identity\n", 6, "identity", "square"),
        (PREAMBLE + "T: go : a identity\n", 6, "identity", "square"),
        (PREAMBLE + "O: go reset\n", 6, "reset", "only stand for rows of T"),
        (PREAMBLE + "T: goo identity", 6, "goo", "unknown action; did you mean 'go'?"),
        (PREAMBLE + "T: go : 3 uniform", 6, "3", "there are 3 states"),
        (PREAMBLE + "T: go : a : -1 1", 6, "-1", "expected state, number or"),
        (
            PREAMBLE + "T: * uniform\nT: stay : b : b 0.5\n\nO: * uniform",
            7,
            "T: stay : b",
            "sums to 1.16666667",
        ),
        (PREAMBLE + "T: *\n1 0 0\n0 1 0\n0 0\nO: * uniform", 10, "O", "expected 9 numbers here, found 8"),
        (PREAMBLE + "T: * : *\n1 0 0 0\nO: * uniform", 7, "0", "expected 3 numbers here, found more"),
        (PREAMBLE + "T: go : a : b nan", 6, "nan", "expected a number"),
        (PREAMBLE + "T: go : a : b 1e999", 6, "1e999", "not finite"),
        (PREAMBLE + "T: go : a : b -0.5", 6, "-0.5", "between 0 and 1"),
        (PREAMBLE + "T: go : a\n1.5 -0.5 0", 7, "1.5", "between 0 and 1"),
        (PREAMBLE + "R: go : a : b : x inf", 6, "inf", "expected 1 number here"),
        (PREAMBLE + "R: go\n1 2 3", 7, "1", "expected ':' and a state"),
        (PREAMBLE + "R: go : a : b : x : 1", 6, ":", "expected 1 number"),
        (PREAMBLE + "Q: go", 6, "Q", "expected one of"),
        (PREAMBLE.replace("actions", "action"), 4, "action", "did you mean 'actions'?"),
        (PREAMBLE + DYNAMICS + "\n\nplease", 10, "please", "expected T, O or R"),
        (PREAMBLE + DYNAMICS + "# seqrl: horizon soon", 8, "soon", "whole number"),
        (PREAMBLE + DYNAMICS + "# seqrl: horizon 0", 8, "0", "at least 1"),
        (PREAMBLE + DYNAMICS + "# seqrl: horizon", 8, "end of line", "whole number"),
        (PREAMBLE + DYNAMICS + "# seqrl: horizon 3 4", 8, "4", "should have ended"),
        (PREAMBLE + DYNAMICS + "# seqrl: horzion 3", 8, "horzion", "did you mean 'horizon'?"),
        (PREAMBLE + DYNAMICS + "# seqrl: terminal d", 8, "d", "unknown state"),
        (PREAMBLE + DYNAMICS + "# seqrl: terminal a", 8, "a", "must not be left"),
        (PREAMBLE + DYNAMICS + "# seqrl: initial_observation a x 1", 8, "x", "expected ':'"),
        (
            PREAMBLE + DYNAMICS + "# seqrl: initial_observation a : x 0.5\n",
            8,
            "initial_observation a",
            "sums to 0.5",
        ),
        (
            PREAMBLE + DYNAMICS + "# seqrl: initial_observation a : x 1",
            8,
            "initial_observation b",
            "no entry",
        ),
    ],
)
def test_a_fault_is_one_line_that_names_line_and_token(text, line, token, says):
    error = fault(text)
    assert says in str(error)
    assert (error.line, error.token) == (line, token)
    assert str(error).startswith(f"f.POMDP:{line}: ") and str(error).endswith(f", near {token!r}")


def test_rewards_beyond_the_floats_are_a_fault():
    error = fault(PREAMBLE + DYNAMICS + "R: go : a : a\n1.7e308 -1.7e308")
    assert error.line == 8 and "not finite" in str(error)


def test_errors_survive_pickling():
    error = fault("states: a a")
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


def test_a_long_token_is_cut_short():
    assert len(str(fault("x" * 10_000))) < 300


def test_a_missing_file_is_a_clear_line(tmp_path):
    with pytest.raises(PomdpFileError, match=r"absent\.POMDP: cannot be read: No such file") as caught:
        read_pomdp(tmp_path / "absent.POMDP")
    assert caught.value.line == 0


def test_bytes_that_are_no_text_are_a_fault(tmp_path):
    path = tmp_path / "t.POMDP"
    path.write_bytes(b"discount: 0.9\nstates: \xff")
    with pytest.raises(PomdpFileError, match=r"t\.POMDP:2: .*UTF-8.*0xff"):
        read_pomdp(path)


# Writing


@pytest.fixture
def doors() -> TabularPOMDP:
    """Terminal state, an o_0 that tells, a reward on every step but the last."""
    return validated(
        TabularPOMDP(
            initial=np.array([0.1, 0.9, 0]),
            initial_observation=np.array([[0.3, 0.7], [1, 0], [0, 1.0]]),
            transition=np.array([[[0, 0.5, 0.5], [0, 1, 0], [0, 0, 1.0]]]),
            observation=np.array([[[0.2, 0.8], [1 / 3, 2 / 3], [0, 1]]]),
            reward=np.array([[[-0.1, -0.1, -0.1], [0, 1e-17, 0], [0, 0, 0]]]),
            terminal=np.array([False, False, True]),
            discount=1 / 3,
            horizon=11,
            name="doors\n# seqrl: horizon 3",
            states=("left", "right-hand", "end_1"),
            actions=("0",),
            observations=("quiet", "loud"),
        )
    )


def test_writing_and_reading_restores_the_task(doors, tmp_path):
    path = tmp_path / "doors.POMDP"
    write_pomdp(doors, path)
    task = read_pomdp(path)
    assert_same(task, doors)
    assert (task.horizon, task.name) == (11, "doors")
    assert os.listdir(tmp_path) == ["doors.POMDP"]


def test_a_failed_write_leaves_the_old_file(doors, tmp_path, monkeypatch):
    path = tmp_path / "doors.POMDP"
    path.write_text("old")
    monkeypatch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(OSError("disk")))
    with pytest.raises(OSError, match="disk"):
        write_pomdp(doors, path)
    assert path.read_text() == "old" and os.listdir(tmp_path) == ["doors.POMDP"]


def test_an_idle_state_that_is_not_terminal_stays_so():
    task = body("T: * : * : c 1\nO: * uniform\n", "start: a\n")
    idle = validated(replace(task, terminal=np.zeros(3, bool)))
    assert_same(parse_pomdp(format_pomdp(idle)), idle)
    assert_same(parse_pomdp(format_pomdp(task)), task)


def test_comments_of_origin_stay_at_the_head():
    text = "# Made by hand, 1994\n#\n# for a robot\n\n# seqrl: horizon 5\n" + PREAMBLE + "# not this\n" + DYNAMICS
    task = parse_pomdp(text)
    assert task.origin == ("Made by hand, 1994", "", "for a robot")
    written = format_pomdp(task)
    assert "# Made by hand, 1994\n#\n# for a robot\n" in written and "not this" not in written
    assert parse_pomdp(written).origin == task.origin


def test_an_uninformative_first_observation_is_not_written():
    text = format_pomdp(body(DYNAMICS))
    assert "observations: x y\n" in text and "initial_observation" not in text


@pytest.mark.parametrize("name", ["0_0", "sp ace", "T", "uniform", "", "ä", "a:b", "#1", "a\n"])
def test_names_that_the_format_does_not_allow_are_refused(doors, name):
    with pytest.raises(ValueError, match=re.escape(f"state name {name!r}")):
        format_pomdp(replace(doors, states=("left", name, "end")))


def test_what_is_written_is_in_the_words_of_the_specification(doors):
    """Probabilities have no sign, numbers a digit on either side of the point, every entry stands on its own line."""
    number = r"[0-9]+(\.[0-9]+)?(e[+-]?[0-9]+)?"
    element = r"([A-Za-z][A-Za-z0-9_-]*|[0-9]+|\*)"
    lines = [
        rf"discount: {number}",
        "values: (reward|cost)",
        rf"(states|actions|observations): {element}( {element})*",
        rf"start:( {number})+",
        rf"[TO]: {element} : {element} : {element} {number}",
        rf"R: {element} : {element} : {element} : {element} -?{number}",
        "",
    ]
    signed_zero = replace(doors, initial=np.array([0.1, 0.9, -0.0]))
    for line in format_pomdp(signed_zero).splitlines():
        assert any(re.fullmatch(pattern, line.partition("#")[0]) for pattern in lines), line


def floats(low: float, high: float) -> st.SearchStrategy[float]:
    return st.floats(low, high, allow_nan=False, allow_infinity=False)


NAMES = st.from_regex(r"[A-Za-z][A-Za-z0-9_-]{0,5}", fullmatch=True).filter(lambda name: name not in KEYWORDS)


@st.composite
def name_sets(draw, size: int) -> tuple[str, ...]:
    if draw(st.booleans()):
        return tuple(map(str, range(size)))
    return tuple(draw(st.lists(NAMES, min_size=size, max_size=size, unique=True)))


@st.composite
def distributions(draw, *shape: int) -> np.ndarray:
    count = int(np.prod(shape[:-1]))
    row = st.lists(st.one_of(st.just(0.0), floats(1e-9, 1)), min_size=shape[-1], max_size=shape[-1])
    rows = np.array(draw(st.lists(row.filter(any), min_size=count, max_size=count)))
    return (rows / rows.sum(-1, keepdims=True)).reshape(shape)


@st.composite
def tasks(draw) -> TabularPOMDP:
    num_s, num_a, num_o = draw(st.integers(2, 4)), draw(st.integers(1, 3)), draw(st.integers(1, 4))
    transition = draw(distributions(num_a, num_s, num_s))
    rewards = st.one_of(st.just(0.0), st.just(-1.0), floats(-1e300, 1e300))
    reward = np.array(draw(st.lists(rewards, min_size=transition.size, max_size=transition.size)))
    reward = reward.reshape(transition.shape)
    initial = draw(distributions(num_s))
    terminal = np.zeros(num_s, bool)
    if draw(st.booleans()):
        # The last state is idle: what a reader takes for terminal, whether or not it is.
        transition[:, -1] = np.eye(num_s)[-1]
        reward[:, -1] = 0
        initial = np.append(draw(distributions(num_s - 1)), 0)
        terminal[-1] = draw(st.booleans())
    observation, initial_observation = (
        draw(distributions(num_a, num_s, num_o)),
        draw(distributions(num_s, num_o)),
    )
    observations = draw(name_sets(num_o))
    if draw(st.booleans()) and "none" not in observations:
        observation = np.pad(observation, ((0, 0), (0, 0), (0, 1)))
        initial_observation = np.eye(num_o + 1)[[-1] * num_s]
        observations = (*observations, "none")
    return validated(
        TabularPOMDP(
            initial=initial,
            initial_observation=initial_observation,
            transition=transition,
            observation=observation,
            reward=reward,
            terminal=terminal,
            discount=draw(floats(1e-3, 1)),
            horizon=draw(st.integers(1, 10**6)),
            name="drawn",
            states=draw(name_sets(num_s)),
            actions=draw(name_sets(num_a)),
            observations=observations,
        )
    )


@settings(max_examples=200, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(tasks())
def test_every_task_comes_back_bit_for_bit(task):
    assert_same(parse_pomdp(format_pomdp(task)), task)


VALID = (
    "# seqrl: horizon 5\n# seqrl: terminal c\n# seqrl: initial_observation * : x 1.0\n"
    + PREAMBLE
    + "start: a\nT: go\nidentity\nT: stay : * : c 1.0\nT: stay : a reset\nT: go : b\n0.5 0.25 .25\n"
    + "O: *\n0.5 0.5\n1 0\n0 1e0\nR: go : a : b : x -1.5\nR: stay : a : a\n1 +2\nR: go : b\n1 2\n3 4\n5 6\n"
)
WORDS = st.sampled_from(
    [
        *VALID.split(),
        *["nan", "inf", "-1", "0", "1e400", "9999", "99999999999", "*:", ":", "#", "start:", "\x00", "ï\n"],
    ]
)
JUNK = st.one_of(WORDS.map(" {} ".format), st.text(max_size=3), st.just("\n"))


@st.composite
def mangled(draw) -> str:
    """A valid file after a few cuts and insertions, of characters or of words."""
    text = VALID
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(text)))
        end = start + draw(st.sampled_from([0, 0, 1, 2, 10, 50]))
        text = text[:start] + draw(st.one_of(st.just(""), JUNK)) + text[end:]
    return text


def reads_or_says_why(text: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        warnings.simplefilter("ignore", UserWarning)
        try:
            task = parse_pomdp(text, source="f.POMDP")
        except PomdpFileError as error:
            assert 1 <= error.line <= len(re.split("\r\n|\r|\n", text))
            assert "\n" not in str(error)
        else:
            assert_same(parse_pomdp(format_pomdp(task)), task)


def test_the_text_to_be_mangled_is_valid():
    assert parse_pomdp(VALID).terminal.tolist() == [False, False, True]


@settings(max_examples=1000)
@given(mangled())
@example(VALID.replace("states: a b c", "states: 999999999"))
@example(VALID.replace("states: a b c", "states: 8000").replace("x y", "8000"))
@example("T" * 100_000)
@example("1" * 100_000)
def test_a_mangled_file_is_read_or_refused_and_nothing_else(text):
    reads_or_says_why(text)


@settings(max_examples=300)
@given(st.one_of(st.text(), st.lists(WORDS).map(" ".join)))
def test_any_text_is_read_or_refused_and_nothing_else(text):
    reads_or_says_why(text)


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary())
def test_any_bytes_are_read_or_refused_and_nothing_else(tmp_path, content):
    path = tmp_path / "t.POMDP"
    path.write_bytes(content)
    with pytest.raises(PomdpFileError):
        read_pomdp(path)


# The files that the community uses


@with_samples
@pytest.mark.filterwarnings("ignore:.*normalised")
@pytest.mark.parametrize("path", sorted(SAMPLES.glob("*.POMDP")), ids=lambda path: path.stem)
def test_sample_files_are_read_and_come_back(path):
    task = read_pomdp(path)
    assert task.name == path.stem and task.observations[-1] == "none"
    assert_same(parse_pomdp(format_pomdp(task)), task)


@with_samples
def test_only_the_sample_with_rounded_rows_warns():
    warned = []
    for path in SAMPLES.glob("*.POMDP"):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            read_pomdp(path)
        warned += [path.stem] * len(caught)
    assert warned == ["1d"]


def optimum(task: TabularPOMDP, belief: np.ndarray, steps: int, memo: dict) -> float:
    """The best value over `steps` steps from an unnormalised belief, by search through every history."""
    key = (steps, tuple(np.round(belief, 12)))
    if steps == 0 or not belief.any():
        return 0.0
    if key not in memo:
        best = -np.inf
        for a in range(task.num_actions):
            joint = belief[:, None] * task.transition[a]
            following = joint.sum(0)[:, None] * task.observation[a]
            later = sum(optimum(task, following[:, o], steps - 1, memo) for o in range(task.num_observations))
            best = max(best, (joint * task.reward[a]).sum() + task.discount * later)
        memo[key] = best
    return memo[key]


@with_samples
@pytest.mark.filterwarnings("ignore:.*normalised")
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("1d", 1.0229487),
        ("tiger.95", 4.4285313),
        ("tiger.aaai", 1.4021742),
        ("cheese.95", 0.8636778),
        ("tiger-alt-start", 3.1905811),
    ],
)
def test_sample_files_have_their_published_value(name, value):
    """Six steps, certified by independent solvers: rewards on observations, resets and wildcards are as meant."""
    task = read_pomdp(SAMPLES / f"{name}.POMDP")
    assert optimum(task, task.initial, 6, {}) == pytest.approx(value, abs=1e-6)
