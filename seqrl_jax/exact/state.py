"""Dynamic programming for policies that see the state, and exact values of policies that see only the observation."""

from __future__ import annotations

import numpy as np

from seqrl_jax.tasks.tabular import TabularPOMDP


def expected_reward(task: TabularPOMDP) -> np.ndarray:
    """[A, S]: `sum_s' transition[a, s, s'] reward[a, s, s']`."""
    return np.einsum("ast,ast->as", task.transition, task.reward)


def state_values(task: TabularPOMDP) -> tuple[np.ndarray, np.ndarray]:
    """The optimum of a policy that sees the state and the time. Backward induction, Puterman (1994), section 4.5.

    Returns:
        values: [H + 1, S], row t the best return from step t on, in units of reward at step t.
        policy: [H, S] int, the action (the first of equals).
    """
    reward = expected_reward(task)
    values = np.zeros((task.horizon + 1, task.num_states))
    policy = np.zeros((task.horizon, task.num_states), int)
    for t in reversed(range(task.horizon)):
        action_values = reward + task.discount * task.transition @ values[t + 1]
        policy[t] = action_values.argmax(0)
        values[t] = action_values.max(0)
    return values, policy


def start_value(task: TabularPOMDP, values: np.ndarray) -> float:
    """The expectation of `values[0]` over the start, from what `state_values` returns."""
    return float(task.initial @ values[0])


def evaluate_memoryless(task: TabularPOMDP, policy: np.ndarray) -> np.ndarray:
    """Exact value J of stationary policies of the observation.

    Args: policy: [..., O, A], rows sum to 1; any leading axes.
    Returns: [...].
    """
    reward = expected_reward(task)
    batch = policy.shape[:-2]
    policy = np.asarray(policy, np.float64).reshape(-1, *policy.shape[-2:])
    # mass[b, s, o]: discounted probability that the episode is alive in s, showing o.
    mass = np.broadcast_to(
        task.initial[:, None] * task.initial_observation,
        (len(policy), task.num_states, task.num_observations),
    )
    alive = task.transition * ~task.terminal
    total = np.zeros(len(policy))
    for _ in range(task.horizon):
        joint = np.einsum("bso,boa->bas", mass, policy, optimize=True)
        total += np.einsum("bas,as->b", joint, reward)
        entered = np.einsum("bas,ast->bat", joint, alive, optimize=True) * task.discount
        mass = np.einsum("bat,ato->bto", entered, task.observation, optimize=True)
    return total.reshape(batch)


def uniform_policy(task: TabularPOMDP) -> np.ndarray:
    """[O, A]: every action with the same probability."""
    return np.full((task.num_observations, task.num_actions), 1 / task.num_actions)
