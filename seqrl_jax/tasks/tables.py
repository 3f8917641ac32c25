"""The numbers of a task by action: arrays while they are small, sparse rows beyond.

A sparse matrix is a `scipy.sparse.csr_array` here: row by row the columns that hold something, in order, each once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import chain, pairwise
from typing import Any, NamedTuple, TypeAlias

import jax
import numpy as np
from scipy import sparse

MOST_DENSE = 2**22
"""Numbers in the arrays of one task together (32 MiB); tables of a larger task are sparse."""
MOST_ENTRIES = 2**27
"""Numbers in the tables of one task, at most: a gigabyte of them, and half of that for their places."""
MOST_STATES = 2**15


class TaskError(ValueError):
    """A task that cannot be: the message names the array and the row."""


@partial(jax.tree_util.register_dataclass, data_fields=["by_action"], meta_fields=[])
@dataclass(frozen=True, eq=False)
class SparseTable:
    """[A, S, N] numbers, most of them 0: for each action a sparse matrix [S, N]. `table[a]` is that of an action."""

    by_action: tuple[sparse.csr_array, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self.by_action), *self.by_action[0].shape)

    @property
    def entries(self) -> int:
        return sum(matrix.nnz for matrix in self.by_action)

    def __getitem__(self, action: int) -> sparse.csr_array:
        return self.by_action[action]

    def __iter__(self) -> Iterator[sparse.csr_array]:
        return iter(self.by_action)

    def __len__(self) -> int:
        return len(self.by_action)


Matrix: TypeAlias = "np.ndarray | sparse.csr_array"
Table: TypeAlias = np.ndarray | SparseTable
"""Of one shape, [S, N] and [A, S, N], in either form."""


class Lists(NamedTuple):
    """What is not 0 of a task's tables, whichever form they have.

    transition, reward: by action [S, S], the reward at the entries of the transition. observation: by action [S, O].
    initial_observation: [S, O].
    """

    transition: tuple[sparse.csr_array, ...]
    reward: tuple[sparse.csr_array, ...]
    observation: tuple[sparse.csr_array, ...]
    initial_observation: sparse.csr_array


def lists_of(transition: Table, reward: Table, observation: Table, initial_observation: Matrix) -> Lists:
    """From the tables of a task. What is paid on the way to where nothing leads is left out."""
    laws = tuple(map(listed, transition))
    pays = tuple(at(listed(pay, zeros=True), law) for pay, law in zip(reward, laws, strict=True))
    return Lists(laws, pays, tuple(map(listed, observation)), listed(initial_observation))


def listed(matrix: Matrix, zeros: bool = False) -> sparse.csr_array:
    """As a sparse matrix of float64, in order and without entries that are 0 unless `zeros` keeps those it has."""
    rows = sparse.csr_array(matrix, dtype=np.float64)
    if not rows.has_canonical_format or (not zeros and not rows.data.all()):
        rows = rows.copy()
        rows.sum_duplicates()
        if not zeros:
            rows.eliminate_zeros()
    return rows


def at(matrix: sparse.csr_array, places: sparse.csr_array) -> sparse.csr_array:
    """The numbers of `matrix` at the entries of `places`, 0 where it has none."""
    if np.array_equal(matrix.indptr, places.indptr) and np.array_equal(matrix.indices, places.indices):
        return matrix
    held, wanted = _keys(matrix), _keys(places)
    data = np.zeros(places.nnz)
    if len(held):
        place = np.minimum(np.searchsorted(held, wanted), len(held) - 1)
        data = np.where(held[place] == wanted, matrix.data[place], 0.0)
    return with_data(places, data)


def with_data(matrix: sparse.csr_array, data: np.ndarray) -> sparse.csr_array:
    """A matrix with these numbers [nnz] at the same entries."""
    return sparse.csr_array((data, matrix.indices, matrix.indptr), shape=matrix.shape)


def row_numbers(matrix: sparse.csr_array) -> np.ndarray:
    """[nnz]: in which row each entry stands."""
    return np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))


def table_of(shape: tuple[int, int, int], numbers: Mapping[tuple[int, int, int], float]) -> SparseTable:
    """[A, S, N] with these numbers by place: action, state and column."""
    places = np.fromiter(chain.from_iterable(numbers), np.int64, 3 * len(numbers)).reshape(-1, 3)
    data = np.fromiter(numbers.values(), np.float64, len(numbers))
    by_action = []
    for action in range(shape[0]):
        mine = np.flatnonzero(places[:, 0] == action)
        by_action.append(sparse.csr_array((data[mine], (places[mine, 1], places[mine, 2])), shape=shape[1:]))
    return SparseTable(tuple(by_action))


def every_action(matrix: Matrix, num_actions: int) -> SparseTable:
    """The same matrix for each action."""
    return SparseTable((sparse.csr_array(matrix),) * num_actions)


def dense(table: Table) -> np.ndarray:
    """As one array [A, S, N] of float64."""
    if isinstance(table, SparseTable):
        return np.stack([dense_matrix(matrix) for matrix in table])
    return np.asarray(table, np.float64)


def dense_matrix(matrix: Matrix) -> np.ndarray:
    """As an array of float64; unlike with `toarray`, -0.0 stays what it is."""
    if not sparse.issparse(matrix):
        return np.asarray(matrix, np.float64)
    rows = listed(matrix, zeros=True)
    array = np.zeros(rows.shape)
    array[row_numbers(rows), rows.indices] = rows.data
    return array


def each_row(matrix: Matrix) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Row by row the columns that hold something, all of them in an array, and the numbers there."""
    if isinstance(matrix, np.ndarray):
        columns = np.arange(matrix.shape[1])
        yield from ((columns, row) for row in matrix)
    else:
        for begin, end in pairwise(matrix.indptr.tolist()):
            yield matrix.indices[begin:end], matrix.data[begin:end]


def is_small(states: int, actions: int, observations: int) -> bool:
    """Whether a task of this size has arrays for tables."""
    return 2 * actions * states**2 + (actions + 1) * states * observations <= MOST_DENSE


def mean_over_rows(law: Table, *values: Table) -> np.ndarray:
    """[A, S]: the sum over the last axis of a law [A, S, N] times the values, which a sparse law has at its entries."""
    if isinstance(law, SparseTable):
        products = [np.prod([matrix.data for matrix in parts], axis=0) for parts in zip(law, *values, strict=True)]
        rows, count = map(row_numbers, law), law.shape[1]
        return np.stack([np.bincount(row, part, count) for row, part in zip(rows, products, strict=True)])
    factors: list[Any] = [law, *values]
    mean: np.ndarray = np.einsum(",".join(["ast"] * len(factors)) + "->as", *factors)
    return mean


def refuse_too_large(name: str, states: int, actions: int, observations: int) -> None:
    """Raises TaskError where tables of this size would not fit, before anything is listed or allocated."""
    # A row holds an entry at least.
    in_a_state = 3 * actions + 1
    most = min(MOST_STATES, MOST_ENTRIES // in_a_state)
    if states > most:
        count = f"at least {states:,}" if states < 10**12 else "more than 10^12"
        kinds = f"{actions} actions and {observations} observations"
        raise TaskError(f"{name}: with {kinds} there are {count} states, more than its tables can hold: {most:,}")


def refuse_too_many(name: str, what: str, count: int, most: int) -> None:
    """Raises TaskError where so many numbers would not fit, before they are allocated."""
    if count > most:
        raise TaskError(f"{name}: {what} needs {count:,} numbers, more than the {most:,} that fit")


def _keys(matrix: sparse.csr_array) -> np.ndarray:
    """[nnz]: row and column in one number, in order."""
    return row_numbers(matrix) * matrix.shape[1] + matrix.indices
