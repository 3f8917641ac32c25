"""Gradient ascent on the exact value of memoryless policies, and of policies with a few memory states.

A policy with M memory states is a table [M * O, M * A]: in memory state m, seeing o, it takes a and goes to memory
state m' with the probability in row `m * O + o`, column `m' * A + a`. It begins in memory state 0. With M = 1 it is
memoryless.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import scipy
from jax import Array
from scipy import sparse

from seqrl_jax.exact.budget import OverBudget
from seqrl_jax.exact.graph import state_graph
from seqrl_jax.exact.state import largest_return
from seqrl_jax.tasks.tabular import TabularPOMDP

STARTS = (4, 64)
ITERATIONS = (20, 150)
AT_ONCE = 10
"""Iterations between looks at the time."""
STARTS_EACH = 4
"""For each free probability: where there is one, two ascents may do."""
STEP_FACTORS = (0.25, 1.0, 4.0)
WORK = 5e9
"""Products that the ascent may take: seconds on a core."""
OVERHEAD = 50_000
"""What a time step costs however small it is, in products."""
TIE = 1e-9
"""Of the largest return: ends of ascents that differ by less are equally good, and the first is refined."""
SCATTERED = 12
"""What an entry costs that is gathered and scattered, in products."""
MOST_QUADRATIC = 256
"""Entries of a policy that is refined by quadratic programs."""
SMALLEST = 1e-9
"""Probability that stands for 0 where there are logits."""
MOST_DENSE = 2**16
"""Entries of a matrix that is multiplied whole: on a CPU that is faster than to gather and to scatter."""


Value = Callable[[Array], Array]
"""J as a function of a policy."""


def exact_value(task: TabularPOMDP, memories: int = 1) -> Value:
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


class Effort(NamedTuple):
    """From how many policies the ascent begins, and how many steps each makes."""

    starts: int
    iterations: int


def effort(task: TabularPOMDP, memories: int = 1) -> Effort:
    """As many starts as free probabilities call for, and less of both where a step of each is a large product."""
    graph = state_graph(task)
    free = len(np.unique(graph.label)) * memories * (memories * graph.num_actions - 1)
    entries = np.prod(graph.transition.shape)
    each = memories**2 * (entries if entries <= MOST_DENSE else SCATTERED * graph.transition.nnz)
    sweeps = (2 + len(STEP_FACTORS)) * graph.horizon
    affordable = (WORK / (ITERATIONS[1] * sweeps) - OVERHEAD) / max(1, each)
    starts = int(np.clip(min(STARTS_EACH * free, affordable) // 2 * 2, *STARTS))
    iterations = int(np.clip(WORK // (sweeps * (OVERHEAD + starts * each)), *ITERATIONS))
    return Effort(starts, iterations)


def ascend(
    task: TabularPOMDP,
    first: np.ndarray,
    seed: int = 0,
    memories: int = 1,
    others: Sequence[np.ndarray] = (),
    late: Callable[[], bool] = lambda: False,
) -> np.ndarray:
    """The best policy [M * O, M * A] found from up to 64 starts, among them `first` and `others`; never worse than
    `first`.

    Projected gradient ascent, each start with its own step size, which grows while it pays and shrinks when it does
    not; then a refinement of the best one. late: is asked now and then whether to stop with what there is.
    """
    rng = np.random.default_rng(seed)
    shape = (memories * task.num_observations, memories * task.num_actions)
    starts, iterations = effort(task, memories)
    even = rng.dirichlet(np.ones(shape[1]), (starts // 2 - 1, shape[0]))
    uneven = rng.dirichlet(np.full(shape[1], 0.2), (starts // 2 - 1, shape[0]))
    listed = [first, *others, np.full(shape, 1 / shape[1]), *even, *uneven][:starts]
    # Optax's projection divides floats by integers, which a caller's strict promotion would refuse.
    with jax.enable_x64(True), jax.numpy_dtype_promotion("standard"):
        value = _in_units(task, memories)
        policies, values = _climbed(value, jnp.asarray(np.array(listed)), iterations, late)
        best = policies[(values >= values.max() - TIE).argmax()]
        return _polished(value, best, late)


def _in_units(task: TabularPOMDP, memories: int) -> Value:
    """J in units of the largest return."""
    value, unit = exact_value(task, memories), largest_return(task)
    return lambda policy: value(policy) / unit


def _climbed(value: Value, starts: Array, iterations: int, late: Callable[[], bool]) -> tuple[np.ndarray, np.ndarray]:
    """Policies [N, M * O, M * A] that the starts lead to, and their values [N]."""
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

    @jax.jit
    def climb(carry: tuple[Array, Array], count: int) -> tuple[Array, Array]:
        return jax.lax.fori_loop(0, count, lambda _, each: jax.vmap(move)(*each), carry)

    carry = starts, jnp.full(len(starts), 0.3)
    for done in range(0, iterations, AT_ONCE):
        if late():
            break
        carry = climb(carry, min(AT_ONCE, iterations - done))
    return np.asarray(carry[0]), np.asarray(jax.jit(jax.vmap(value))(carry[0]))


def _polished(value: Value, policy: np.ndarray, late: Callable[[], bool]) -> np.ndarray:
    """A local refinement; the policy itself where that finds nothing better, or not in time."""
    refine = _on_simplices if policy.size <= MOST_QUADRATIC else _on_logits
    try:
        candidate = refine(lambda table: -value(table), policy, late)
    except OverBudget:
        return policy
    better = float(value(jnp.asarray(candidate))) > float(value(jnp.asarray(policy)))
    return candidate if better else policy


def _on_simplices(cost: Value, policy: np.ndarray, late: Callable[[], bool]) -> np.ndarray:
    """Sequential quadratic programming over rows that sum to 1: exact, at the cube of their number of entries."""
    sums = np.kron(np.eye(policy.shape[0]), np.ones(policy.shape[1]))
    found = scipy.optimize.minimize(
        _with_gradient(cost, policy.shape, late),
        policy.ravel(),
        jac=True,
        bounds=[(0, 1)] * policy.size,
        constraints={"type": "eq", "fun": lambda flat: sums @ flat - 1, "jac": lambda _: sums},
        method="SLSQP",
        options={"maxiter": 100, "ftol": 1e-14},
    )
    candidate = np.clip(found.x, 0, 1).reshape(policy.shape)
    return candidate / candidate.sum(1, keepdims=True)


def _on_logits(cost: Value, policy: np.ndarray, late: Callable[[], bool]) -> np.ndarray:
    """A quasi-Newton method over logits, which grows with the number of entries; zeros become small numbers."""
    logits = np.log(np.maximum(policy, SMALLEST))
    of_logits = lambda table: cost(jax.nn.softmax(table))
    found = scipy.optimize.minimize(
        _with_gradient(of_logits, policy.shape, late), logits.ravel(), jac=True, method="L-BFGS-B"
    )
    weights = np.exp(found.x.reshape(policy.shape) - found.x.reshape(policy.shape).max(1, keepdims=True))
    return weights / weights.sum(1, keepdims=True)


def _with_gradient(cost: Value, shape: tuple[int, ...], late: Callable[[], bool]) -> Callable[[np.ndarray], Any]:
    """Raises, when it is late: OverBudget."""
    both = jax.jit(jax.value_and_grad(lambda flat: cost(flat.reshape(shape))))

    def in_time(flat: np.ndarray) -> tuple[np.ndarray, ...]:
        if late():
            raise OverBudget
        return tuple(np.asarray(part) for part in both(jnp.asarray(flat)))

    return in_time
