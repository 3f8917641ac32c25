"""Gradient ascent on the exact value of memoryless policies, and of policies with a few memory states.

A policy with M memory states is a table [M * O, M * A]: in memory state m, seeing o, it takes a and goes to memory
state m' with the probability in row `m * O + o`, column `m' * A + a`. It begins in memory state 0. With M = 1 it is
memoryless.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array
from scipy.optimize import minimize

from seqrl_jax.exact.state import expected_reward
from seqrl_jax.tasks.tabular import TabularPOMDP

STARTS = 64
ITERATIONS = 150
STEP_FACTORS = (0.25, 1.0, 4.0)


def exact_value(task: TabularPOMDP, memories: int = 1) -> Callable[[Array], Array]:
    """J as a differentiable function of a policy [M * O, M * A], by recursion over (memory, state, observation).

    To be traced with 64-bit types enabled.
    """
    num_o, num_a = task.num_observations, task.num_actions
    reward = jnp.asarray(expected_reward(task))
    alive = jnp.asarray(task.transition * ~task.terminal * task.discount)
    observation = jnp.asarray(task.observation)
    start = jnp.asarray(task.initial[:, None] * task.initial_observation)
    start = jnp.zeros((memories, *start.shape)).at[0].set(start)

    def value(policy: Array) -> Array:
        by_memory = policy.reshape(memories, num_o, memories, num_a)

        def step(mass: Array, _: None) -> tuple[Array, Array]:
            joint = jnp.einsum("mso,mona->nas", mass, by_memory)
            entered = jnp.einsum("nas,ast->nat", joint, alive)
            return jnp.einsum("nat,ato->nto", entered, observation), (joint * reward).sum()

        return jax.lax.scan(step, start, length=task.horizon)[1].sum()

    return value


def ascend(task: TabularPOMDP, first: np.ndarray, seed: int = 0, memories: int = 1) -> np.ndarray:
    """The best policy [M * O, M * A] found from 64 starts, the first of them `first`; never worse than `first`.

    Projected gradient ascent, each start with its own step size, which grows while it pays and shrinks when it does
    not; then sequential quadratic programming from the best one.
    """
    rng = np.random.default_rng(seed)
    shape = (memories * task.num_observations, memories * task.num_actions)
    dense = rng.dirichlet(np.ones(shape[1]), (STARTS // 2 - 1, shape[0]))
    sparse = rng.dirichlet(np.full(shape[1], 0.2), (STARTS // 2 - 1, shape[0]))
    starts = np.concatenate([first[None], np.full((1, *shape), 1 / shape[1]), dense, sparse])
    # Optax's projection divides floats by integers, which a caller's strict promotion would refuse.
    with jax.enable_x64(True), jax.numpy_dtype_promotion("standard"):
        policies, values = jax.jit(lambda starts: _climb(task, starts, memories))(jnp.asarray(starts))
        best = np.asarray(policies)[np.asarray(values).argmax()]
        return _polished(task, best, memories)


def _climb(task: TabularPOMDP, starts: Array, memories: int) -> tuple[Array, Array]:
    value = exact_value(task, memories)
    project = jax.vmap(optax.projections.projection_simplex)
    factors = jnp.asarray(STEP_FACTORS)

    def move(policy: Array, rate: Array) -> tuple[Array, Array]:
        here, gradient = jax.value_and_grad(value)(policy)
        direction = gradient / (jnp.abs(gradient).max() + 1e-300)
        there = jax.vmap(lambda factor: project(policy + rate * factor * direction))(factors)
        values = jax.vmap(value)(there)
        pick = values.argmax()
        better = values[pick] > here
        rate = rate * jnp.where(better, factors[pick], factors[0] ** 2)
        return jnp.where(better, there[pick], policy), jnp.clip(rate, 1e-9, 10.0)

    def iterate(carry: tuple[Array, Array], _: None) -> tuple[tuple[Array, Array], None]:
        return jax.vmap(move)(*carry), None

    rates = jnp.full(len(starts), 0.3)
    policies = jax.lax.scan(iterate, (starts, rates), length=ITERATIONS)[0][0]
    return policies, jax.vmap(value)(policies)


def _polished(task: TabularPOMDP, policy: np.ndarray, memories: int) -> np.ndarray:
    """A local refinement on the simplices; the policy itself where that finds nothing better."""
    value = exact_value(task, memories)
    both = jax.jit(jax.value_and_grad(lambda flat: -value(flat.reshape(policy.shape))))
    sums = np.kron(np.eye(policy.shape[0]), np.ones(policy.shape[1]))
    found = minimize(
        lambda flat: tuple(np.asarray(part) for part in both(jnp.asarray(flat))),
        policy.ravel(),
        jac=True,
        bounds=[(0, 1)] * policy.size,
        constraints={"type": "eq", "fun": lambda flat: sums @ flat - 1, "jac": lambda _: sums},
        method="SLSQP",
        options={"maxiter": 100, "ftol": 1e-14},
    )
    candidate = np.clip(found.x, 0, 1).reshape(policy.shape)
    candidate /= candidate.sum(1, keepdims=True)
    better = float(value(jnp.asarray(candidate))) > float(value(jnp.asarray(policy)))
    return candidate if better else policy
