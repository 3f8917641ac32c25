"""Shared by tests of environments that are no tables: what exact solvers say of their twins that are."""

import numpy as np
import pytest

from seqrl_jax.exact.ascent import ascend
from seqrl_jax.exact.bounds import history_interval
from seqrl_jax.exact.state import evaluate_memoryless


@pytest.fixture(scope="session")
def best_values():
    """task -> the best value that gradient ascent from 64 starts finds among policies of the observation, and the
    interval of the history's. Whether more than the first can be had is a matter of proof, not of these tests."""

    def best_values(task):
        uniform = np.full((task.num_observations, task.num_actions), 1 / task.num_actions)
        memoryless = float(evaluate_memoryless(task, ascend(task, uniform)))
        return memoryless, history_interval(task)[0]

    return best_values
