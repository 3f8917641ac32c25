"""What a policy is worth: computed where it is memoryless, sampled from the environment where it is not."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from seqrl_jax.agents.base import Policy
from seqrl_jax.exact.controller import Controller
from seqrl_jax.exact.state import evaluate_memoryless
from seqrl_jax.tasks.environment import Environment
from seqrl_jax.tasks.tabular import TabularPOMDP


def exact_scores(task: TabularPOMDP, tables: np.ndarray) -> list[float | None]:
    """J of memoryless policies that may be padded to more observations and actions than the task has.

    Args: tables: [N, O', A'], rows over the task's own actions sum to 1 up to float32 rounding.
    Returns: N values; None where a table holds a number that is not finite.
    """
    own = np.asarray(tables, np.float64)[:, : task.num_observations, : task.num_actions]
    finite = np.isfinite(own).all(axis=(1, 2), keepdims=True)
    safe = np.where(finite, own, 1.0)
    values = evaluate_memoryless(task, safe / safe.sum(-1, keepdims=True))
    return [float(value) if ok else None for value, ok in zip(values, finite.ravel(), strict=True)]


def simulate(key: Array, env: Environment, params: Any, policy: Policy, episodes: int, horizon: int) -> Array:
    """Discounted returns of whole episodes, for `jit`.

    Args: policy: how to act. horizon: static, at least the task's own.
    Returns: [episodes] float32.
    """

    def step(carry: tuple[Any, ...], key: Array) -> tuple[tuple[Any, ...], Array]:
        obs, state, memory, alive, weight = carry
        act_key, env_key = jax.random.split(key)
        memory, action = policy.act(act_key, memory, obs)
        after = env.step(env_key, state, action, params)
        paid = jnp.where(alive, weight * after.reward, 0.0)
        alive = alive & ~(after.terminated | after.truncated)
        return (after.obs, after.state, memory, alive, weight * env.discount(params)), paid

    def episode(key: Array) -> Array:
        reset_key, run_key = jax.random.split(key)
        obs, state = env.reset(reset_key, params)
        carry = (obs, state, policy.initialise(), jnp.bool_(True), jnp.float32(1.0))
        return jax.lax.scan(step, carry, jax.random.split(run_key, horizon))[1].sum()

    return jax.vmap(episode)(jax.random.split(key, episodes))


def controller_policy(controller: Controller) -> Policy:
    """The policy of a finite-state controller; its memory is the node, -1 before the first observation."""
    start, action, successor = (
        jnp.asarray(table, jnp.int32) for table in (controller.start, controller.action, controller.successor)
    )

    def act(_: Array, node: Array, obs: Array) -> tuple[Array, Array]:
        node = jnp.where(node < 0, start[obs], successor[jnp.maximum(node, 0), obs])
        return node, action[node]

    return Policy(lambda: jnp.int32(-1), act)
