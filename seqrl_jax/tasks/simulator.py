"""Step through a tabular task in JAX: sparse successor tables, one gather and one comparison a draw."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from scipy import sparse

from seqrl_jax.tasks.environment import Discrete, Transition
from seqrl_jax.tasks.tables import listed, refuse_too_many, row_numbers
from seqrl_jax.tasks.tabular import TabularPOMDP

MOST_NUMBERS = 2**26
"""In the list of successors of all states and actions, padded to the longest row, and in that of observations."""

WIDE = 64
"""Rows with more outcomes are searched by bisection."""


class Outcomes(NamedTuple):
    """Sparse distributions: the values with positive probability and their cumulative probabilities.

    value: [..., K] int32; cumulative: [..., K] float32, exactly 1 from the last value on.
    """

    value: Array
    cumulative: Array


@partial(
    jax.tree_util.register_dataclass,
    data_fields=[
        "start",
        "start_token",
        "successor",
        "reward",
        "token",
        "terminal",
        "horizon",
        "discount",
        "action_mask",
        "observation_mask",
    ],
    meta_fields=[],
)
@dataclass(frozen=True)
class TabularParams:
    """A task's numbers as the simulator reads them. K successors at most, M observations at most.

    start: [K0]; start_token: [S, M0]; successor: [S, A, K]; reward: [S, A, K] of each successor; token: [A, S, M] on
    entering a state; terminal: [S] bool; horizon: int32; discount: float32; action_mask: [A] bool;
    observation_mask: [O] bool.
    """

    start: Outcomes
    start_token: Outcomes
    successor: Outcomes
    reward: Array
    token: Outcomes
    terminal: Array
    horizon: Array
    discount: Array
    action_mask: Array
    observation_mask: Array


class TabularState(NamedTuple):
    """number: which state it is; time: steps taken in this episode."""

    number: Array
    time: Array


@dataclass(frozen=True)
class TabularEnv:
    """The environment of every tabular task of this shape; the task itself is the params (`tabular_params`)."""

    num_states: int
    num_actions: int
    num_observations: int
    longest: int
    expensive_reset = False

    @property
    def action_space(self) -> Discrete:
        return Discrete(self.num_actions)

    @property
    def observation_space(self) -> Discrete:
        return Discrete(self.num_observations)

    def reset(self, key: Array, params: TabularParams) -> tuple[Array, TabularState]:
        """Draw s_0 and o_0. Returns obs: int32 scalar, and the state."""
        draw_state, draw_token = _uniforms(key, params.start, params.start_token)
        number = _draw(params.start, (), draw_state)
        obs = _draw(params.start_token, (number,), draw_token)
        return obs, TabularState(number, jnp.int32(0))

    def step(self, key: Array, state: TabularState, action: Array, params: TabularParams) -> Transition:
        """One step. `action` is an int32 scalar below `num_actions`."""
        draw_state, draw_token = _uniforms(key, params.successor, params.token)
        slot = _slot(params.successor, (state.number, action), draw_state)
        number = params.successor.value[state.number, action, slot]
        obs = _draw(params.token, (action, number), draw_token)
        time = state.time + 1
        terminated = params.terminal[number]
        return Transition(
            obs=obs,
            state=TabularState(number, time),
            reward=params.reward[state.number, action, slot],
            terminated=terminated,
            truncated=(time >= params.horizon) & ~terminated,
            info={},
        )

    def action_mask(self, params: TabularParams) -> Array:
        return params.action_mask

    def observation_mask(self, params: TabularParams) -> Array:
        return params.observation_mask

    def discount(self, params: TabularParams) -> Array:
        return params.discount

    def horizon(self, params: TabularParams) -> Array:
        return params.horizon


def tabular_env(*tasks: TabularPOMDP) -> TabularEnv:
    """The smallest environment whose shapes hold all of these tasks."""
    return TabularEnv(
        max(task.num_states for task in tasks),
        max(task.num_actions for task in tasks),
        max(task.num_observations for task in tasks),
        max(task.horizon for task in tasks),
    )


def tabular_params(task: TabularPOMDP) -> TabularParams:
    """The simulator's tables of one task, in its own shapes."""
    params: TabularParams = jax.device_put(_tables(task))
    return params


def stack(tasks: Sequence[TabularPOMDP]) -> tuple[TabularEnv, TabularParams]:
    """One environment for several tasks, and their params along a leading axis [N], for `vmap` over tasks.

    Shapes are padded to the largest. Padding is never reached: padded actions are masked, nothing leads to a padded
    state, and a padded outcome has no probability.

    Raises: TaskError where padded lists would be too many numbers.
    """
    apart = [_tables(task) for task in tasks]
    for field, laws in (("successor", [t.successor for t in apart]), ("observation", [t.token for t in apart])):
        padded = len(tasks) * int(np.max([law.value.shape for law in laws], axis=0).prod())
        names = ", ".join(task.name for task in tasks)
        refuse_too_many(names, f"stepping together, with lists of {field}s of one shape,", padded, MOST_NUMBERS)
    return tabular_env(*tasks), jax.tree.map(_stack_padded, *apart)


def _tables(task: TabularPOMDP) -> TabularParams:
    """`tabular_params` as numpy arrays, which are padded without compiling anything.

    Raises: TaskError where rows that are padded to the longest of them would be too many numbers.
    """
    lists = task.lists
    for field, laws in (("successor", lists.transition), ("observation", lists.observation)):
        rows, longest = task.num_states * task.num_actions, _longest(laws)
        what = f"stepping with room for {longest} {field}s of every state and action"
        refuse_too_many(task.name, what, rows * longest, MOST_NUMBERS)
    width = _longest(lists.reward)
    return TabularParams(
        start=jax.tree.map(lambda leaf: leaf[0, 0], _listed([listed(task.initial[None])])),
        start_token=jax.tree.map(lambda leaf: leaf[0], _listed([lists.initial_observation])),
        successor=jax.tree.map(lambda leaf: leaf.swapaxes(0, 1), _listed(lists.transition)),
        reward=_array(np.stack([_padded(pay, pay.data, width, np.float32) for pay in lists.reward], 1), np.float32),
        token=_listed(lists.observation),
        terminal=_array(task.terminal, bool),
        horizon=_array(task.horizon, np.int32),
        discount=_array(task.discount, np.float32),
        action_mask=_array(np.ones(task.num_actions), bool),
        observation_mask=_array(np.ones(task.num_observations), bool),
    )


def _array(value: Any, dtype: Any) -> Any:
    return np.asarray(value, dtype)


def _stack_padded(*leaves: np.ndarray) -> Array:
    shape = np.max([leaf.shape for leaf in leaves], axis=0).astype(int)
    # Cumulative probabilities need 1, so that no draw falls beyond the last real outcome; padded rewards are not read.
    stacked = np.full((len(leaves), *shape), 1 if leaves[0].dtype == np.float32 else 0, leaves[0].dtype)
    for index, leaf in enumerate(leaves):
        own: Any = (index, *(slice(width) for width in leaf.shape))
        stacked[own] = leaf
    moved: Array = jax.device_put(stacked)
    return moved


def _listed(laws: Sequence[sparse.csr_array]) -> Outcomes:
    """Matrices [S, N] of probabilities as outcomes [len(laws), S, K], K the longest row."""
    width = _longest(laws)
    value = np.stack([_padded(law, law.indices, width, np.int32) for law in laws])
    cumulative = np.stack([_padded(law, law.data, width, np.float64) for law in laws]).cumsum(-1)
    cumulative[cumulative > 1 - 1e-9] = 1
    return Outcomes(_array(value, np.int32), _array(cumulative, np.float32))


def _longest(laws: Iterable[sparse.csr_array]) -> int:
    return max(int(np.diff(law.indptr).max()) for law in laws)


def _padded(rows: sparse.csr_array, numbers: np.ndarray, width: int, dtype: type) -> np.ndarray:
    """[S, width]: of each row the numbers of its entries [nnz] in order, then 0."""
    row = row_numbers(rows)
    table = np.zeros((rows.shape[0], width), dtype)
    table[row, np.arange(rows.nnz) - rows.indptr[row]] = numbers
    return table


def _uniforms(key: Array, first: Outcomes, second: Outcomes) -> tuple[Array, Array]:
    """A uniform number for each of two draws. None is generated for a draw that is certain in every row (K = 1).

    The i-th number does not depend on how many there are, so a task draws the same numbers alone and stacked.
    """
    needed = 2 if second.value.shape[-1] > 1 else 1 if first.value.shape[-1] > 1 else 0
    numbers = jax.random.uniform(key, (needed,))
    unused = jnp.float32(0)
    return (numbers[0] if needed else unused), (numbers[1] if needed == 2 else unused)


def _slot(law: Outcomes, row: tuple[Array, ...], draw: Array) -> Array:
    """The number of the row's cumulative probabilities at or below the draw; 0 where the outcome is certain (K = 1)."""
    last = law.cumulative.shape[-1] - 1
    if last < WIDE:
        return jnp.sum(draw >= law.cumulative[row][:last], dtype=jnp.int32)
    # The same number by bisection, which reads a few of many.
    slot = jnp.int32(0)
    for power in reversed(range(last.bit_length())):
        further = slot + 2**power
        passed = (further <= last) & (draw >= law.cumulative[(*row, jnp.minimum(further, last) - 1)])
        slot = jnp.where(passed, further, slot)
    return slot


def _draw(law: Outcomes, row: tuple[Array, ...], draw: Array) -> Array:
    return law.value[(*row, _slot(law, row, draw))]
