"""Dynamic programming for policies that see the state, and exact values of policies that see only the observation."""

from __future__ import annotations

import numpy as np

from seqrl_jax.exact.graph import policy_values, state_graph
from seqrl_jax.tasks.tabular import TabularPOMDP


def state_values(task: TabularPOMDP) -> tuple[np.ndarray, np.ndarray]:
    """The optimum of a policy that sees the state and the time. Backward induction, Puterman (1994), section 4.5.

    Returns:
        values: [H + 1, S], row t the best return from step t on, in units of reward at step t.
        policy: [H, S] int, the action (the first of equals).
    """
    kernel = task.kernel
    values = np.zeros((task.horizon + 1, task.num_states))
    policy = np.zeros((task.horizon, task.num_states), int)
    for t in reversed(range(task.horizon)):
        action_values = kernel.reward + task.discount * kernel.ahead(values[t + 1])
        policy[t] = action_values.argmax(0)
        values[t] = action_values.max(0)
    return values, policy


def largest_return(task: TabularPOMDP) -> float:
    """What no return exceeds in size, `max |R| sum_{t<H} gamma^t` over what can happen: the unit of tolerances. 1 where
    nothing pays."""
    steps = float((task.discount ** np.arange(task.horizon)).sum())
    return largest_reward(task) * steps or 1.0


def largest_reward(task: TabularPOMDP) -> float:
    """`max |R|` over what can happen."""
    return max(float(np.abs(pay.data).max(initial=0.0)) for pay in task.lists.reward)


def start_value(task: TabularPOMDP, values: np.ndarray) -> float:
    """The expectation of `values[0]` over the start, from what `state_values` returns."""
    return float(task.initial @ values[0])


def evaluate_memoryless(task: TabularPOMDP, policy: np.ndarray) -> np.ndarray:
    """Exact value J of stationary policies of the observation.

    Args: policy: [..., O, A], rows sum to 1; any leading axes.
    Returns: [...].
    """
    return policy_values(state_graph(task), policy)


def uniform_policy(task: TabularPOMDP) -> np.ndarray:
    """[O, A]: every action with the same probability."""
    return np.full((task.num_observations, task.num_actions), 1 / task.num_actions)
