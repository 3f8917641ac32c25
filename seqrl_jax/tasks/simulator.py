"""Step through a tabular task in JAX: sparse successor tables, one gather and one comparison a draw."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from seqrl_jax.tasks.environment import Discrete, Transition
from seqrl_jax.tasks.tabular import TabularPOMDP


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

    @property
    def action_space(self) -> Discrete:
        return Discrete(self.num_actions)

    @property
    def observation_space(self) -> Discrete:
        return Discrete(self.num_observations)

    def reset(self, key: Array, params: TabularParams) -> tuple[Array, TabularState]:
        """Draw s_0 and o_0. Returns obs: int32 scalar, and the state."""
        draw_state, draw_token = _uniforms(key, params.start, params.start_token)
        number = _draw(params.start, draw_state)
        obs = _draw(_row(params.start_token, number), draw_token)
        return obs, TabularState(number, jnp.int32(0))

    def step(self, key: Array, state: TabularState, action: Array, params: TabularParams) -> Transition:
        """One step. `action` is an int32 scalar below `num_actions`."""
        draw_state, draw_token = _uniforms(key, params.successor, params.token)
        slot = _slot(_row(params.successor, state.number, action), draw_state)
        number = params.successor.value[state.number, action, slot]
        obs = _draw(_row(params.token, action, number), draw_token)
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
    return jax.tree.map(jnp.asarray, _tables(task))


def stack(tasks: Sequence[TabularPOMDP]) -> tuple[TabularEnv, TabularParams]:
    """One environment for several tasks, and their params along a leading axis [N], for `vmap` over tasks.

    Shapes are padded to the largest. Padding is never reached: padded actions are masked, nothing leads to a padded
    state, and a padded outcome has no probability.
    """
    return tabular_env(*tasks), jax.tree.map(_stack_padded, *(_tables(task) for task in tasks))


def _tables(task: TabularPOMDP) -> TabularParams:
    """`tabular_params` as numpy arrays, which are padded without compiling anything."""
    transition, reward = task.transition.swapaxes(0, 1), task.reward.swapaxes(0, 1)
    return TabularParams(
        start=_sparse(task.initial),
        start_token=_sparse(task.initial_observation),
        successor=_sparse(transition),
        reward=_array(np.take_along_axis(reward, _support(transition), -1), np.float32),
        token=_sparse(task.observation),
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
    return jnp.asarray(stacked)


def _sparse(law: np.ndarray) -> Outcomes:
    """Probabilities [..., N] as outcomes [..., K], K the largest support."""
    value = _support(law)
    cumulative = np.take_along_axis(law, value, -1).cumsum(-1)
    cumulative[cumulative > 1 - 1e-9] = 1
    return Outcomes(_array(value, np.int32), _array(cumulative, np.float32))


def _support(law: np.ndarray) -> np.ndarray:
    """[..., K]: where each row is positive, in order, then places where it is not."""
    width = int((law > 0).sum(-1).max())
    return np.argsort(law <= 0, axis=-1, kind="stable")[..., :width]


def _uniforms(key: Array, first: Outcomes, second: Outcomes) -> tuple[Array, Array]:
    """A uniform number for each of two draws. None is generated for a draw that is certain in every row (K = 1).

    The i-th number does not depend on how many there are, so a task draws the same numbers alone and stacked.
    """
    needed = 2 if second.value.shape[-1] > 1 else 1 if first.value.shape[-1] > 1 else 0
    numbers = jax.random.uniform(key, (needed,))
    unused = jnp.float32(0)
    return (numbers[0] if needed else unused), (numbers[1] if needed == 2 else unused)


def _row(law: Outcomes, *index: Array) -> Outcomes:
    return Outcomes(law.value[index], law.cumulative[index])


def _slot(law: Outcomes, draw: Array) -> Array:
    """The number of cumulative probabilities at or below the draw; no work where the outcome is certain (K = 1)."""
    return jnp.sum(draw >= law.cumulative[:-1], dtype=jnp.int32)


def _draw(law: Outcomes, draw: Array) -> Array:
    return law.value[_slot(law, draw)]
