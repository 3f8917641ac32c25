"""A task is the same whether its tables are arrays or sparse: what decides is its size."""

import io
from dataclasses import replace
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from seqrl_jax.exact.state import largest_return
from seqrl_jax.tasks import (
    TASKS,
    TaskError,
    kernel,
    make,
    simulator,
    stack,
    tables,
    tabular_env,
    tabular_params,
    validated,
)
from seqrl_jax.tasks.endless import endless
from seqrl_jax.tasks.export import export
from seqrl_jax.tasks.pomdp_file import format_pomdp, parse_pomdp
from seqrl_jax.tasks.simulator import Outcomes
from seqrl_jax.tasks.tables import SparseTable, at, dense, dense_matrix, listed
from seqrl_jax.tasks.tabular import arrays, fingerprint, observed, seen_at_start
from seqrl_jax.tasks.wrappers.registry import wrapped_table

FAULTS = {
    "transition": ((1, 0, 2), 0.9),
    "observation": ((0, 1, 1), 0.5),
    "initial_observation": ((0, 0), np.nan),
    "initial": (0, -0.5),
    "reward": ((2, 2, 2), 1.0),
    "terminal": (0, True),
}
FINGERPRINTS = {
    "tiger": "43667de45a09579e",
    "rock_sample": "e804a4e1416aa303",
    "mini_hallway": "57048565898537af",
    "hidden_market": "373d1c5a4f029fe4",
    "tmaze:sticky=0.3": "74bcb90ae44313cb",
    "tmaze:delay=2": "1d05ee0a3d5f1804",
    "tmaze:previous_action=true": "9df142890c821547",
    "peek_maze:endless=true,discount=0.9": "eb89862f056f14da",
}
LARGE = """discount: .95
values: reward
states: 2500
actions: 5
observations: 100
T: * identity
O: * uniform
R: * : * : 7 : * 1
"""


def with_sparse_tables():
    return mock.patch.object(tables, "MOST_DENSE", 0)


def made_sparse(task):
    with with_sparse_tables():
        return validated(task)


def assert_same(sparse_task, dense_task):
    """Names, what can happen, what it pays."""
    assert isinstance(sparse_task.transition, SparseTable) and not isinstance(dense_task.transition, SparseTable)
    for name in ("states", "actions", "observations", "discount", "horizon", "name"):
        assert getattr(sparse_task, name) == getattr(dense_task, name)
    np.testing.assert_array_equal(sparse_task.terminal, dense_task.terminal)
    for left, right in zip(sparse_task.kernel.outcomes, dense_task.kernel.outcomes, strict=True):
        np.testing.assert_array_equal(left, right)
    for left, right in zip(sparse_task.lists.transition, dense_task.lists.transition, strict=True):
        np.testing.assert_array_equal(left.toarray(), right.toarray())
    np.testing.assert_allclose(sparse_task.kernel.reward, dense_task.kernel.reward, rtol=1e-13, atol=1e-13)
    np.testing.assert_allclose(sparse_task.kernel.square, dense_task.kernel.square, rtol=1e-13, atol=1e-13)
    np.testing.assert_array_equal(sparse_task.kernel.start.toarray(), dense_task.kernel.start.toarray())
    assert largest_return(sparse_task) == largest_return(dense_task)


@pytest.mark.parametrize("spec", FINGERPRINTS)
def test_small_tasks_are_the_arrays_that_they_were(spec):
    task = make(spec)
    assert isinstance(task.transition, np.ndarray) and fingerprint(task) == FINGERPRINTS[spec]


@settings(max_examples=20)
@given(seed=st.integers(0, 10_000))
def test_the_form_of_a_task_changes_nothing_that_can_happen(random_task, seed):
    task = random_task(seed)
    twin = made_sparse(task)
    assert_same(twin, task)
    jax.tree.map(np.testing.assert_array_equal, tabular_params(twin), tabular_params(task))
    with with_sparse_tables():
        assert fingerprint(validated(twin)) == fingerprint(twin) != fingerprint(task)
    assert_same(twin, validated(twin))


@settings(max_examples=20)
@given(seed=st.integers(0, 10_000))
def test_a_sparse_task_is_written_and_read_as_it_is(random_task, seed):
    twin = made_sparse(random_task(seed))
    with with_sparse_tables():
        again = parse_pomdp(format_pomdp(twin), f"{twin.name}.POMDP")
        assert fingerprint(again) == fingerprint(twin)
    assert_same(again, parse_pomdp(format_pomdp(twin), f"{twin.name}.POMDP"))


def test_a_file_says_the_same_in_either_form():
    text = (
        "discount: 0.9\nvalues: cost\nstates: a b c\nactions: go stay\nobservations: x y\nstart: a\n"
        "T: go\nidentity\nT: stay : * : c 1.0\nT: stay : a uniform\nT: go : b\n0.5 0.25 .25\n"
        "O: *\n0.5 0.5\n1 0\n0 1e0\nR: go : a : b : x -1.5\nR: stay : a : a\n1 +2\nR: go : b\n1 2\n3 4\n5 6\n"
        "R: go : * : c : * 3\nR: stay : a : * : * 4\nR: stay : a : b : * 5\n"
    )
    with with_sparse_tables():
        twin = parse_pomdp(text)
    assert_same(twin, parse_pomdp(text))


@pytest.mark.parametrize("field", FAULTS)
def test_a_fault_is_called_the_same_in_either_form(field):
    task = make("tiger")
    index, value = FAULTS[field]
    array = np.array(getattr(task, field))
    array[index] = value
    wrong = replace(task, **{field: array})
    with pytest.raises(TaskError) as said:
        validated(wrong)
    lists = {name: SparseTable(tuple(map(sparse.csr_array, getattr(wrong, name)))) for name in ("transition", "reward")}
    lists["observation"] = SparseTable(tuple(map(sparse.csr_array, wrong.observation)))
    lists["initial_observation"] = sparse.csr_array(wrong.initial_observation)
    with with_sparse_tables(), pytest.raises(TaskError) as caught:
        validated(replace(wrong, **lists))
    assert str(caught.value) == str(said.value)


@pytest.mark.parametrize(
    "change",
    [
        lambda task: wrapped_table(task, {"sticky": 0.3}),
        lambda task: wrapped_table(task, {"delay": 1}),
        lambda task: wrapped_table(task, {"flicker": 0.3}),
        lambda task: wrapped_table(task, {"frame_stack": 2}),
        lambda task: wrapped_table(task, {"time": True, "previous_action": True}),
        lambda task: wrapped_table(task, {"previous_reward": True}),
        observed,
        lambda task: endless(replace(task, discount=0.9)),
    ],
)
def test_every_change_of_a_task_is_the_same_in_either_form(change):
    task = make("peek_maze:horizon=3")
    twin = made_sparse(task)
    with with_sparse_tables():
        changed = validated(change(twin))
    assert_same(changed, change(task))


def test_the_first_observation_of_a_sparse_task_may_be_drawn_like_the_others():
    text = LARGE.replace("2500", "3").replace("100", "2").replace(" 7 ", " 1 ")
    with with_sparse_tables():
        twin = seen_at_start(parse_pomdp(text))
        with pytest.raises(TaskError, match="depends on the action"):
            seen_at_start(parse_pomdp(text + "O: 1 : 0\n1 0"))
    assert_same(twin, seen_at_start(parse_pomdp(text)))


def test_sparse_and_dense_tasks_are_stacked():
    tasks = [make(name) for name in ("tiger", "hidden_market", "peek_maze")]
    env, params = stack([made_sparse(tasks[0]), tasks[1], made_sparse(tasks[2])])
    same_env, same = stack(tasks)
    assert env == same_env
    jax.tree.map(np.testing.assert_array_equal, params, same)


def test_long_rows_are_searched_for_what_short_ones_are_compared_with():
    """Ties, zeros and ones included."""
    rng = np.random.default_rng(0)
    cumulative = np.sort(np.round(rng.random((3, 150)), 2), -1).astype(np.float32)
    cumulative[:, 140:] = 1
    law = Outcomes(jnp.zeros((3, 150), int), jnp.asarray(cumulative))
    draws = jnp.asarray(np.concatenate([[0.0], cumulative[1, :140], rng.random(50)]), jnp.float32)
    draws = draws[draws < 1]
    find = jax.vmap(lambda draw: simulator._slot(law, (jnp.int32(1),), draw))
    np.testing.assert_array_equal(find(draws), (np.asarray(draws)[:, None] >= cumulative[1, :-1]).sum(-1))


def test_numbers_are_found_at_the_places_of_another_matrix():
    matrix, places = sparse.csr_array([[0, 2.0, 3], [4, 0, 0]]), sparse.csr_array([[1, 0, 1.0], [1, 1, 0]])
    np.testing.assert_array_equal(at(matrix, places).data, [0, 3, 4, 0])
    np.testing.assert_array_equal(at(sparse.csr_array((2, 3)), places).data, np.zeros(4))


def test_a_zero_keeps_its_sign():
    matrix = sparse.csr_array((np.array([-0.0, 1]), ([0, 1], [1, 0])), shape=(2, 2))
    assert np.signbit(dense_matrix(matrix)).tolist() == [[False, True], [False, False]]
    assert listed(matrix).nnz == 1 and listed(matrix, zeros=True).nnz == 2


def test_what_is_exported_of_a_sparse_task_restores_its_tables(tmp_path):
    task = made_sparse(make("peek_maze"))
    export(task, tmp_path / "maze.npz")
    with np.load(io.BytesIO((tmp_path / "maze.npz").read_bytes())) as file:
        parts = tuple(file[f"transition_{part}"] for part in ("data", "indices", "indptr"))
        num_s, num_a = len(file["states"]), len(file["actions"])
    rows = sparse.csr_array(parts, shape=(num_a * num_s, num_s))
    np.testing.assert_array_equal(rows.toarray().reshape(num_a, num_s, num_s), dense(task.transition))
    assert set(arrays(task)) > {"initial", "reward_data", "initial_observation_indptr"}


def test_a_large_file_of_identities_and_uniform_rows_takes_what_it_holds():
    """2,500 states, 5 actions, 100 observations: 23 GiB once."""
    task = parse_pomdp(LARGE)
    assert isinstance(task.transition, SparseTable) and task.transition.entries == 5 * 2500
    assert task.observation.entries == 5 * 2500 * 100 and task.num_observations == 101
    assert len(task.kernel.outcomes.action) == 5 * 2500 * 100
    assert task.kernel.reward.sum() == 5 and tabular_env(task).num_states == 2500
    assert tabular_params(task).successor.value.shape == (2500, 5, 1)


def test_what_would_not_fit_is_refused_in_one_line(monkeypatch):
    task = make("hidden_market")
    monkeypatch.setattr(kernel, "MOST_OUTCOMES", 10)
    with pytest.raises(TaskError, match=r"^hidden_market: a list of all that can happen needs [\d,]+ numbers"):
        _ = task.kernel.outcomes
    monkeypatch.setattr(simulator, "MOST_NUMBERS", 10)
    with pytest.raises(TaskError, match=r"^hidden_market: stepping with room for \d+ successors of every state"):
        tabular_params(task)
    monkeypatch.setattr(simulator, "MOST_NUMBERS", 100)
    with pytest.raises(TaskError, match=r"^tiger, tiger, .*: stepping together"):
        stack([make("tiger")] * 10)
    monkeypatch.setattr(tables, "MOST_ENTRIES", 100)
    with pytest.raises(TaskError, match=r"more than its tables can hold: \d+$"):
        made_sparse(task)


@pytest.mark.parametrize("name", TASKS)
def test_default_tasks_are_small(name):
    assert isinstance(make(name).transition, np.ndarray)
