"""Gradient ascent on the exact value of memoryless policies, and of policies with a few memory states.

A policy with M memory states is a table [M * O, M * A]: in memory state m, seeing o, it takes a and goes to memory
state m' with the probability in row `m * O + o`, column `m' * A + a`. It begins in memory state 0. With M = 1 it is
memoryless.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array
from scipy import sparse
from scipy.optimize import minimize

from seqrl_jax.exact.graph import DecisionGraph, state_graph
from seqrl_jax.tasks.tabular import TabularPOMDP

STARTS = 64
ITERATIONS = 150
STEP_FACTORS = (0.25, 1.0, 4.0)
WORK = 2e10
"""Products that the ascent may take: seconds to a minute on a core."""
SCATTERED = 12
"""What an entry costs that is gathered and scattered, in products."""
MOST_QUADRATIC = 256
"""Entries of a policy that is refined by quadratic programs."""
SMALLEST = 1e-9
"""Probability that stands for 0 where there are logits."""
MOST_DENSE = 2**16
"""Entries of a matrix that is multiplied whole: on a CPU that is faster than to gather and to scatter."""


def exact_value(task: TabularPOMDP, memories: int = 1) -> Callable[[Array], Array]:
    """J as a differentiable function of a policy [M * O, M * A], by recursion over pairs (memory, node of the state
    graph).

    To be traced with 64-bit types enabled.
    """
    graph = state_graph(task)
    num_n, num_a, num_o = graph.num_nodes, graph.num_actions, graph.num_labels
    reward, onward = jnp.asarray(graph.reward), _product(graph.transition * graph.discount)
    start = jnp.zeros((memories, num_n)).at[0].set(graph.start)

    def value(policy: Array) -> Array:
        by_node = policy.reshape(memories, num_o, memories, num_a)[:, graph.label]

        def step(mass: Array, _: None) -> tuple[Array, Array]:
            joint = jnp.einsum("mn,mnka->kna", mass, by_node)
            return onward(joint.reshape(memories, -1)), (joint * reward).sum()

        return jax.lax.scan(step, start, length=graph.horizon)[1].sum()

    return value


def _product(matrix: sparse.csr_matrix) -> Callable[[Array], Array]:
    """rows [M, R] -> rows @ matrix [M, C]: with all entries while they are few, else with those that are not 0."""
    if np.prod(matrix.shape) <= MOST_DENSE:
        dense = jnp.asarray(matrix.toarray())
        return lambda rows: rows @ dense
    entries = matrix.tocoo()
    data, row, column = map(jnp.asarray, (entries.data, entries.row, entries.col))
    return lambda rows: jnp.zeros((len(rows), matrix.shape[1])).at[:, column].add(rows[:, row] * data)


def ascend(task: TabularPOMDP, first: np.ndarray, seed: int = 0, memories: int = 1) -> np.ndarray:
    """The best policy [M * O, M * A] found from up to 64 starts, the first of them `first`; never worse than `first`.

    Projected gradient ascent, each start with its own step size, which grows while it pays and shrinks when it does
    not; then a refinement of the best one.
    """
    rng = np.random.default_rng(seed)
    shape = (memories * task.num_observations, memories * task.num_actions)
    half = starts_within_budget(state_graph(task), memories) // 2
    even = rng.dirichlet(np.ones(shape[1]), (half - 1, shape[0]))
    uneven = rng.dirichlet(np.full(shape[1], 0.2), (half - 1, shape[0]))
    starts = np.concatenate([first[None], np.full((1, *shape), 1 / shape[1]), even, uneven])
    # Optax's projection divides floats by integers, which a caller's strict promotion would refuse.
    with jax.enable_x64(True), jax.numpy_dtype_promotion("standard"):
        policies, values = jax.jit(lambda starts: _climb(task, starts, memories))(jnp.asarray(starts))
        best = np.asarray(policies)[np.asarray(values).argmax()]
        return _polished(task, best, memories)


def starts_within_budget(graph: DecisionGraph, memories: int) -> int:
    """From how many policies the ascent begins: fewer where a step of each is a large product, at least 4."""
    entries = np.prod(graph.transition.shape)
    each = entries if entries <= MOST_DENSE else SCATTERED * graph.transition.nnz
    # Where every action ends the episode, nothing is multiplied.
    work = ITERATIONS * (2 + len(STEP_FACTORS)) * graph.horizon * memories**2 * max(1, each)
    return int(np.clip(WORK // work // 2 * 2, 4, STARTS))


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
    """A local refinement; the policy itself where that finds nothing better."""
    value = exact_value(task, memories)
    refine = _on_simplices if policy.size <= MOST_QUADRATIC else _on_logits
    candidate = refine(lambda table: -value(table), policy)
    better = float(value(jnp.asarray(candidate))) > float(value(jnp.asarray(policy)))
    return candidate if better else policy


def _on_simplices(cost: Callable[[Array], Array], policy: np.ndarray) -> np.ndarray:
    """Sequential quadratic programming over rows that sum to 1: exact, at the cube of their number of entries."""
    sums = np.kron(np.eye(policy.shape[0]), np.ones(policy.shape[1]))
    found = minimize(
        _with_gradient(cost, policy.shape),
        policy.ravel(),
        jac=True,
        bounds=[(0, 1)] * policy.size,
        constraints={"type": "eq", "fun": lambda flat: sums @ flat - 1, "jac": lambda _: sums},
        method="SLSQP",
        options={"maxiter": 100, "ftol": 1e-14},
    )
    candidate = np.clip(found.x, 0, 1).reshape(policy.shape)
    return candidate / candidate.sum(1, keepdims=True)


def _on_logits(cost: Callable[[Array], Array], policy: np.ndarray) -> np.ndarray:
    """A quasi-Newton method over logits, which grows with the number of entries; zeros become small numbers."""
    logits = np.log(np.maximum(policy, SMALLEST))
    of_logits = lambda table: cost(jax.nn.softmax(table))
    found = minimize(_with_gradient(of_logits, policy.shape), logits.ravel(), jac=True, method="L-BFGS-B")
    weights = np.exp(found.x.reshape(policy.shape) - found.x.reshape(policy.shape).max(1, keepdims=True))
    return weights / weights.sum(1, keepdims=True)


def _with_gradient(cost: Callable[[Array], Array], shape: tuple[int, ...]) -> Callable[[np.ndarray], Any]:
    both = jax.jit(jax.value_and_grad(lambda flat: cost(flat.reshape(shape))))
    return lambda flat: tuple(np.asarray(part) for part in both(jnp.asarray(flat)))
