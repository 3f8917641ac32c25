"""A POMDP as a pytree of arrays: the one form in which a task is solved, simulated, stacked, written and read."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property, partial

import jax
import numpy as np
from scipy import sparse

from seqrl_jax.tasks import tables
from seqrl_jax.tasks.kernel import Kernel, kernel_of
from seqrl_jax.tasks.tables import (
    Lists,
    Matrix,
    SparseTable,
    Table,
    TaskError,
    dense,
    dense_matrix,
    every_action,
    listed,
    lists_of,
    mean_over_rows,
    refuse_too_large,
    refuse_too_many,
    row_numbers,
)

__all__ = [
    "TabularPOMDP",
    "TaskError",
    "arrays",
    "fingerprint",
    "observed",
    "refuse_too_large",
    "seen_at_start",
    "validated",
    "with_discount",
    "with_horizon",
]

SUM_TOLERANCE = 1e-9


@partial(
    jax.tree_util.register_dataclass,
    data_fields=[
        "initial",
        "initial_observation",
        "transition",
        "observation",
        "reward",
        "terminal",
        "discount",
        "horizon",
    ],
    meta_fields=["name", "states", "actions", "observations", "blank", "origin"],
)
@dataclass(frozen=True, eq=False)
class TabularPOMDP:
    """A finite POMDP with a horizon. S states, A actions, O observations; arrays are numpy, float64.

    Tables of a large task are sparse. Its size alone decides (`tables.MOST_DENSE`): up to 2^22 numbers, [A, S, S] twice
    and [A + 1, S, O] once, they are arrays, beyond it `transition`, `reward` and `observation` are `SparseTable`s, by
    action a `csr_array`, and `initial_observation` is a `csr_array`. `lists` and `kernel` read the same for both.
    A sparse reward stands at the entries of the transition; what would be paid elsewhere never is.

    An episode: `s_0 ~ initial`, `o_0 ~ initial_observation[s_0]`; at step t the agent picks `a_t`, then
    `s_{t+1} ~ transition[a_t, s_t]`, `r_t = reward[a_t, s_t, s_{t+1}]`, `o_{t+1} ~ observation[a_t, s_{t+1}]`. It ends
    on entering a terminal state or after `horizon` steps. Objective: `E[sum_t discount^t r_t]`.

    Attributes:
        initial: [S], the start distribution.
        initial_observation: [S, O], the law of o_0.
        transition: [A, S, S], rows `transition[a, s]` sum to 1. Terminal states lead to themselves.
        observation: [A, S, O], `observation[a, s']` is the law of the observation on entering s' by a.
        reward: [A, S, S], zero from terminal states.
        terminal: [S] bool.
        discount: in (0, 1].
        horizon: steps, at least 1.
        name, states, actions, observations: names (static under jit).
        blank: of these observations the one that says nothing, by which a wrapper shows that nothing is seen, or None.
        origin: lines about where the task comes from, as its file gives them.
    """

    initial: np.ndarray
    initial_observation: Matrix
    transition: Table
    observation: Table
    reward: Table
    terminal: np.ndarray
    discount: float
    horizon: int
    name: str
    states: tuple[str, ...]
    actions: tuple[str, ...]
    observations: tuple[str, ...]
    blank: str | None = None
    origin: tuple[str, ...] = ()

    @cached_property
    def lists(self) -> Lists:
        """What is not 0 of the tables, as sparse matrices."""
        return lists_of(self.transition, self.reward, self.observation, self.initial_observation)

    @cached_property
    def kernel(self) -> Kernel:
        """The same dynamics, as lists of what can happen."""
        expected = mean_over_rows(self.transition, self.reward)
        square = mean_over_rows(self.transition, self.reward, self.reward)
        return kernel_of(self.name, self.lists, expected, square, self.terminal, self.initial)

    @property
    def num_states(self) -> int:
        return self.transition.shape[1]

    @property
    def num_actions(self) -> int:
        return self.transition.shape[0]

    @property
    def num_observations(self) -> int:
        return self.observation.shape[2]


def arrays(task: TabularPOMDP) -> dict[str, np.ndarray]:
    """The task's numbers by field name, as exported and as fingerprinted.

    Of a sparse table, [A, S, N] as A * S rows or [S, N], there are three: `NAME_data`, `NAME_indices` (columns) and
    `NAME_indptr` (where each row begins), the parts of a `csr_array`.
    """
    return {
        "initial": task.initial,
        **_arrays_of("initial_observation", task.initial_observation),
        **_arrays_of("transition", task.transition),
        **_arrays_of("observation", task.observation),
        **_arrays_of("reward", task.reward),
        "terminal": task.terminal,
        "discount": np.array(task.discount),
        "horizon": np.array(task.horizon),
    }


def _arrays_of(name: str, table: Matrix | Table) -> dict[str, np.ndarray]:
    if isinstance(table, np.ndarray):
        return {name: table}
    matrices = tuple(table) if isinstance(table, SparseTable) else (table,)
    rows = np.concatenate([np.diff(matrix.indptr) for matrix in matrices])
    return {
        f"{name}_data": np.concatenate([matrix.data for matrix in matrices]),
        f"{name}_indices": np.concatenate([matrix.indices for matrix in matrices]).astype(np.int64),
        f"{name}_indptr": np.concatenate([[0], rows.cumsum()]).astype(np.int64),
    }


def fingerprint(task: TabularPOMDP) -> str:
    """SHA-256 of the arrays, 16 hexadecimal digits: equal for tasks with equal numbers, whatever their names."""
    digest = hashlib.sha256()
    for name, value in arrays(task).items():
        value = np.ascontiguousarray(value)
        digest.update(f"{name}{value.dtype.str}{value.shape}".encode())
        digest.update(value.tobytes())
    return digest.hexdigest()[:16]


def validated(task: TabularPOMDP) -> TabularPOMDP:
    """The task itself, its arrays as float64 numpy and its tables in the form of their size, after every check.

    Raises:
        TaskError: shapes disagree, a number is not finite, a row does not sum to 1 (to 1e-9), a terminal state is
            left or pays, the discount is outside (0, 1], the horizon is below 1, there are too many states or numbers.
            The message names the place.
    """
    task = replace(
        task,
        initial=np.asarray(task.initial, np.float64),
        initial_observation=_numbers(task.initial_observation),
        transition=_numbers(task.transition),
        observation=_numbers(task.observation),
        reward=_numbers(task.reward),
        terminal=np.asarray(task.terminal, bool),
        discount=float(task.discount),
        horizon=_whole_horizon(task),
    )
    _check_shapes(task)
    _check_distributions(task)
    _check_rewards(task)
    _check_terminal(task)
    if not 0 < task.discount <= 1:
        raise TaskError(f"{task.name}: discount is {task.discount}, it must lie in (0, 1]")
    return _settled(task)


def _numbers(table: Matrix | Table) -> Matrix | Table:
    if isinstance(table, SparseTable):
        return SparseTable(tuple(listed(matrix, zeros=True) for matrix in table))
    return listed(table) if sparse.issparse(table) else np.asarray(table, np.float64)


def _settled(task: TabularPOMDP) -> TabularPOMDP:
    """The task with its tables in the form of their size."""
    num_s, num_a, num_o = len(task.states), len(task.actions), len(task.observations)
    if tables.is_small(num_s, num_a, num_o):
        return replace(
            task,
            initial_observation=dense_matrix(task.initial_observation),
            transition=dense(task.transition),
            observation=dense(task.observation),
            reward=dense(task.reward),
        )
    refuse_too_large(task.name, num_s, num_a, num_o)
    lists = task.lists
    transition, observation = SparseTable(lists.transition), SparseTable(lists.observation)
    entries = 2 * transition.entries + observation.entries
    refuse_too_many(task.name, "what is not 0 of its tables", entries, tables.MOST_ENTRIES)
    return replace(
        task,
        initial_observation=lists.initial_observation,
        transition=transition,
        observation=observation,
        reward=SparseTable(lists.reward),
    )


def with_horizon(task: TabularPOMDP, horizon: int) -> TabularPOMDP:
    """The same task, cut after `horizon` steps. Raises TaskError when it is below 1."""
    return validated(replace(task, horizon=horizon))


def with_discount(task: TabularPOMDP, discount: float) -> TabularPOMDP:
    """The same task under another discount. Raises TaskError when it is outside (0, 1]."""
    return validated(replace(task, discount=discount))


def observed(task: TabularPOMDP) -> TabularPOMDP:
    """The fully observed twin: the same dynamics, and each observation is the state's name."""
    refuse_too_large(f"{task.name}, fully observed", task.num_states, task.num_actions, task.num_states)
    identity = sparse.eye_array(task.num_states, format="csr")
    return validated(
        replace(
            task,
            initial_observation=identity,
            observation=every_action(identity, task.num_actions),
            observations=task.states,
            blank=None,
            name=f"{task.name}:observed=true" if ":" not in task.name else f"{task.name},observed=true",
        )
    )


def seen_at_start(task: TabularPOMDP) -> TabularPOMDP:
    """The same task with `o_0 ~ Z(. | s_0)`: the first state is seen as it would be on being entered.

    For models from files that give no first observation. Raises TaskError when the observation of a start state
    depends on the action that led to it.
    """
    first, *others = (law[task.initial > 0] for law in task.lists.observation)
    if any((abs(law - first) - 1e-5 * abs(first)).max() > SUM_TOLERANCE for law in others):
        raise TaskError(f"{task.name}: the observation of a start state depends on the action, and none came before it")
    return validated(replace(task, initial_observation=task.observation[0]))


def _whole_horizon(task: TabularPOMDP) -> int:
    if int(task.horizon) != task.horizon or task.horizon < 1:
        raise TaskError(f"{task.name}: horizon is {task.horizon}, it must be a whole number of steps, at least 1")
    return int(task.horizon)


def _check_shapes(task: TabularPOMDP) -> None:
    num_s, num_a, num_o = len(task.states), len(task.actions), len(task.observations)
    if min(num_s, num_a, num_o) < 1:
        raise TaskError(f"{task.name}: needs at least one state, one action and one observation")
    for kind, names in (
        ("state", task.states),
        ("action", task.actions),
        ("observation", task.observations),
    ):
        twice = {name for name, count in Counter(names).items() if count > 1}
        if twice:
            raise TaskError(f"{task.name}: {kind} name {min(twice)!r} stands twice")
    if task.blank is not None and task.blank not in task.observations:
        raise TaskError(f"{task.name}: the blank {task.blank!r} is none of its observations")
    expected = {
        "initial": (num_s,),
        "initial_observation": (num_s, num_o),
        "transition": (num_a, num_s, num_s),
        "observation": (num_a, num_s, num_o),
        "reward": (num_a, num_s, num_s),
        "terminal": (num_s,),
    }
    for field, shape in expected.items():
        found = getattr(task, field).shape
        if found != shape:
            raise TaskError(f"{task.name}: {field} has shape {list(found)}, expected {list(shape)}")


def _check_distributions(task: TabularPOMDP) -> None:
    _check_rows(task, "initial", [task.initial[None]])
    _check_rows(task, "initial_observation", [task.initial_observation], task.states)
    _check_rows(task, "transition", task.transition, task.actions, task.states)
    _check_rows(task, "observation", task.observation, task.actions, task.states)


def _check_rows(task: TabularPOMDP, field: str, matrices: Iterable[Matrix], *names: tuple[str, ...]) -> None:
    """Every row is a distribution; `names` are those that it stands under: of a state, or of an action and a state."""
    for number, matrix in enumerate(matrices):
        rows = listed(matrix)
        row, count = row_numbers(rows), rows.shape[0]
        wrong = ~(np.abs(np.bincount(row, rows.data, count) - 1) <= SUM_TOLERANCE)
        wrong[row[~(rows.data >= 0) | ~np.isfinite(rows.data)]] = True
        if not wrong.any():
            continue
        index = int(wrong.argmax())
        values = rows.data[rows.indptr[index] : rows.indptr[index + 1]]
        places = zip(("action", "state")[-len(names) :], names, (number, index)[-len(names) :], strict=False)
        address = ", ".join(f"{kind} {name[i]!r}" for kind, name, i in places)
        if not np.isfinite(values).all():
            fault = "holds a number that is not finite"
        elif (values < 0).any():
            fault = f"holds the negative probability {values.min():g}"
        else:
            fault = f"sums to {values.sum():.9g}, not to 1"
        raise TaskError(f"{task.name}: {field}{f'[{address}]' if address else ''} {fault}")


def _check_rewards(task: TabularPOMDP) -> None:
    for a, matrix in enumerate(task.reward):
        rows = listed(matrix)
        wrong = np.flatnonzero(~np.isfinite(rows.data))
        if len(wrong):
            s, s2 = row_numbers(rows)[wrong[0]], rows.indices[wrong[0]]
            raise TaskError(
                f"{task.name}: reward[action {task.actions[a]!r}, state {task.states[s]!r}, next {task.states[s2]!r}] "
                f"is {rows.data[wrong[0]]}"
            )


def _check_terminal(task: TabularPOMDP) -> None:
    stays = [matrix.diagonal() >= 1 - SUM_TOLERANCE for matrix in task.transition]
    pays = [matrix.diagonal() != 0 for matrix in task.reward]
    for s in np.flatnonzero(task.terminal):
        if not all(stay[s] for stay in stays):
            raise TaskError(f"{task.name}: terminal state {task.states[s]!r} can be left")
        if any(pay[s] for pay in pays):
            raise TaskError(f"{task.name}: terminal state {task.states[s]!r} pays a reward")
        if task.initial[s] > 0:
            raise TaskError(f"{task.name}: an episode can start in the terminal state {task.states[s]!r}")
