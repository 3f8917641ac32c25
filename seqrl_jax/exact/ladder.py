"""How much a little memory is worth: the best policies with 1, 2, 3, ... memory states, as certified lower bounds.

Between the best memoryless policy and the best of the whole history stand finite-state controllers. Each rung is the
exact value of an explicit policy, found by gradient ascent on that value from many starts: a lower bound on what that
many memory states can earn, and so on the history value.

Source: Meuleau, Kim, Kaelbling & Cassandra (1999), gradient ascent on controllers; Poupart & Boutilier (2003).
"""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from seqrl_jax.exact.ascent import ascend, exact_value
from seqrl_jax.tasks.tabular import TabularPOMDP


@dataclass(frozen=True, eq=False)
class Rung:
    """memories: M. value: exact, in units of return. policy: [M * O, M * A], see `exact.ascent`."""

    memories: int
    value: float
    policy: np.ndarray


def ladder(task: TabularPOMDP, memoryless: np.ndarray, largest: int = 4, seed: int = 0) -> list[Rung]:
    """The best policies found with 1 ... `largest` memory states; values never fall.

    Args: memoryless: [O, A], with which the climb begins. Raises: ValueError when `largest` is below 1.
    """
    if largest < 1:
        raise ValueError(f"a policy needs at least one memory state, not {largest}")
    rungs = [_rung(task, memoryless, 1)]
    for memories in range(2, largest + 1):
        before = _with_another_state(rungs[-1], task)
        rungs.append(_rung(task, ascend(task, before, seed, memories), memories))
    return rungs


def _rung(task: TabularPOMDP, policy: np.ndarray, memories: int) -> Rung:
    with jax.enable_x64(True):
        return Rung(memories, float(exact_value(task, memories)(jnp.asarray(policy))), policy)


def _with_another_state(rung: Rung, task: TabularPOMDP) -> np.ndarray:
    """The same policy with one more memory state, which it never enters; there it would act as in the last one."""
    m, num_o, num_a = rung.memories, task.num_observations, task.num_actions
    wider = np.zeros((m + 1, num_o, m + 1, num_a))
    wider[:m, :, :m] = rung.policy.reshape(m, num_o, m, num_a)
    wider[m] = wider[m - 1]
    return wider.reshape((m + 1) * num_o, (m + 1) * num_a)
