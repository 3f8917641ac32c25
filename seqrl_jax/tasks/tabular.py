"""A POMDP as a pytree of arrays: the one form in which a task is solved, simulated, stacked, written and read."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from functools import cached_property, partial

import jax
import numpy as np

from seqrl_jax.tasks.kernel import Kernel, kernel_of

SUM_TOLERANCE = 1e-9
MOST_ENTRIES = 2**27
"""Of a task's tables together: a gigabyte."""


class TaskError(ValueError):
    """A task that cannot be: the message names the array and the row."""


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
    meta_fields=["name", "states", "actions", "observations"],
)
@dataclass(frozen=True, eq=False)
class TabularPOMDP:
    """A finite POMDP with a horizon. S states, A actions, O observations; arrays are numpy, float64.

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
    """

    initial: np.ndarray
    initial_observation: np.ndarray
    transition: np.ndarray
    observation: np.ndarray
    reward: np.ndarray
    terminal: np.ndarray
    discount: float
    horizon: int
    name: str
    states: tuple[str, ...]
    actions: tuple[str, ...]
    observations: tuple[str, ...]

    @cached_property
    def kernel(self) -> Kernel:
        """The same dynamics, as lists of what can happen."""
        return kernel_of(
            self.transition,
            self.observation,
            self.reward,
            self.terminal,
            self.initial,
            self.initial_observation,
        )

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
    """The task's numbers by field name, as exported and as fingerprinted."""
    return {
        "initial": task.initial,
        "initial_observation": task.initial_observation,
        "transition": task.transition,
        "observation": task.observation,
        "reward": task.reward,
        "terminal": task.terminal,
        "discount": np.array(task.discount),
        "horizon": np.array(task.horizon),
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
    """The task itself, its arrays as float64 numpy, after every check.

    Raises:
        TaskError: shapes disagree, a number is not finite, a row does not sum to 1 (to 1e-9), a terminal state is
            left or pays, the discount is outside (0, 1], the horizon is below 1. The message names the place.
    """
    terminal = np.asarray(task.terminal, bool)
    task = replace(
        task,
        initial=np.asarray(task.initial, np.float64),
        initial_observation=np.asarray(task.initial_observation, np.float64),
        transition=np.asarray(task.transition, np.float64),
        observation=np.asarray(task.observation, np.float64),
        reward=np.asarray(task.reward, np.float64),
        terminal=terminal,
        discount=float(task.discount),
        horizon=_whole_horizon(task),
    )
    _check_shapes(task)
    _check_distributions(task)
    _check_rewards(task)
    _check_terminal(task)
    if not 0 < task.discount <= 1:
        raise TaskError(f"{task.name}: discount is {task.discount}, it must lie in (0, 1]")
    return task


def refuse_too_large(name: str, states: int, actions: int, observations: int) -> None:
    """Raises TaskError where tables of this size would not fit, before anything is listed or allocated."""
    if 2 * actions * states**2 + (actions + 1) * states * observations > MOST_ENTRIES:
        count = f"at least {states:,}" if states < 10**12 else "more than 10^12"
        kinds = f"{actions} actions and {observations} observations"
        raise TaskError(f"{name}: with {kinds} there are {count} states, more than its tables can hold")


def with_horizon(task: TabularPOMDP, horizon: int) -> TabularPOMDP:
    """The same task, cut after `horizon` steps. Raises TaskError when it is below 1."""
    return validated(replace(task, horizon=horizon))


def with_discount(task: TabularPOMDP, discount: float) -> TabularPOMDP:
    """The same task under another discount. Raises TaskError when it is outside (0, 1]."""
    return validated(replace(task, discount=discount))


def observed(task: TabularPOMDP) -> TabularPOMDP:
    """The fully observed twin: the same dynamics, and each observation is the state's name."""
    identity = np.eye(task.num_states)
    return validated(
        replace(
            task,
            initial_observation=identity,
            observation=np.broadcast_to(identity, (task.num_actions, *identity.shape)).copy(),
            observations=task.states,
            name=f"{task.name}:observed=true" if ":" not in task.name else f"{task.name},observed=true",
        )
    )


def seen_at_start(task: TabularPOMDP) -> TabularPOMDP:
    """The same task with `o_0 ~ Z(. | s_0)`: the first state is seen as it would be on being entered.

    For models from files that give no first observation. Raises TaskError when the observation of a start state
    depends on the action that led to it.
    """
    possible = task.observation[:, task.initial > 0]
    if not np.allclose(possible, possible[:1], atol=SUM_TOLERANCE):
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
        twice = {name for name in names if names.count(name) > 1}
        if twice:
            raise TaskError(f"{task.name}: {kind} name {min(twice)!r} stands twice")
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
    _check_rows(task, "initial")
    _check_rows(task, "initial_observation", task.states)
    _check_rows(task, "transition", task.actions, task.states)
    _check_rows(task, "observation", task.actions, task.states)


def _check_rows(task: TabularPOMDP, field: str, *names: tuple[str, ...]) -> None:
    """Every row of an array is a distribution; `names` are those of the leading axes: states, or actions and states."""
    rows = getattr(task, field)
    finite = np.isfinite(rows).all(-1)
    wrong = ~finite | (rows < 0).any(-1) | (np.abs(rows.sum(-1) - 1) > SUM_TOLERANCE)
    if not wrong.any():
        return
    index = tuple(np.argwhere(wrong)[0])
    row = rows[index]
    kinds = ("action", "state")[-len(names) :]
    address = ", ".join(f"{kind} {name[i]!r}" for kind, name, i in zip(kinds, names, index, strict=False))
    if not finite[index]:
        fault = "holds a number that is not finite"
    elif (row < 0).any():
        fault = f"holds the negative probability {row.min():g}"
    else:
        fault = f"sums to {row.sum():.9g}, not to 1"
    raise TaskError(f"{task.name}: {field}{f'[{address}]' if address else ''} {fault}")


def _check_rewards(task: TabularPOMDP) -> None:
    wrong = ~np.isfinite(task.reward)
    if wrong.any():
        a, s, s2 = np.argwhere(wrong)[0]
        raise TaskError(
            f"{task.name}: reward[action {task.actions[a]!r}, state {task.states[s]!r}, next {task.states[s2]!r}] "
            f"is {task.reward[a, s, s2]}"
        )


def _check_terminal(task: TabularPOMDP) -> None:
    for s in np.flatnonzero(task.terminal):
        if (task.transition[:, s, s] < 1 - SUM_TOLERANCE).any():
            raise TaskError(f"{task.name}: terminal state {task.states[s]!r} can be left")
        if task.reward[:, s, s].any():
            raise TaskError(f"{task.name}: terminal state {task.states[s]!r} pays a reward")
        if task.initial[s] > 0:
            raise TaskError(f"{task.name}: an episode can start in the terminal state {task.states[s]!r}")
