"""Rows that need no learning: the policies that the exact solvers keep, played in the environment."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import jax
import numpy as np

from seqrl_jax.tracks.evaluation import controller_policy, exact_scores, simulate
from seqrl_jax.exact.solve import Solution
from seqrl_jax.exact.state import uniform_policy
from seqrl_jax.tasks.simulator import tabular_env, tabular_params
from seqrl_jax.tasks.tabular import TabularPOMDP

EPISODES = 2000


@dataclass(frozen=True)
class Oracle:
    """A policy taken from a task's solution. table: its [O, A] where it is memoryless; None for the controller."""

    about: str
    table: Callable[[TabularPOMDP, Solution], np.ndarray] | None

    @property
    def memoryless(self) -> bool:
        return self.table is not None

    @property
    def evaluation(self) -> str:
        return "exact" if self.memoryless else f"{EPISODES} episodes"

    def scores(self, task: TabularPOMDP, solution: Solution, seeds: list[int]) -> tuple[list[float], list[float]]:
        """J and its standard error per seed: computed for a table, sampled over `EPISODES` episodes otherwise."""
        if self.table is not None:
            (value,) = exact_scores(task, self.table(task, solution)[None])
            assert value is not None
            return [value] * len(seeds), [0.0] * len(seeds)
        env, params, policy = tabular_env(task), tabular_params(task), controller_policy(solution.history)
        play = jax.jit(lambda key: simulate(key, env, params, policy, EPISODES, task.horizon))
        returns = np.array([play(jax.random.key(seed)) for seed in seeds], np.float64)
        errors = returns.std(1, ddof=1) / np.sqrt(EPISODES)
        return [float(mean) for mean in returns.mean(1)], [float(error) for error in errors]


ORACLES: dict[str, Oracle] = {
    "optimal": Oracle("the kept optimal policy of the history, played in the environment", None),
    "best_memoryless": Oracle("the best memoryless policy found, stochastic", lambda _, solution: solution.stochastic),
    "random": Oracle("the uniform policy", lambda task, _: uniform_policy(task)),
}
