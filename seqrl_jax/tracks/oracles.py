"""Rows that need no learning: the policies that the exact solvers keep, played in the environment."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import jax
import numpy as np

from seqrl_jax.exact.solve import Solution
from seqrl_jax.exact.state import uniform_policy
from seqrl_jax.keys import key_of
from seqrl_jax.tasks.simulator import tabular_env, tabular_params
from seqrl_jax.tasks.tabular import TabularPOMDP
from seqrl_jax.tracks.evaluation import controller_policy, exact_scores, simulate

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
    def episodes(self) -> int | None:
        """Sampled for each seed; None where J is exact."""
        return None if self.memoryless else EPISODES

    @property
    def acts(self) -> Literal["greedy", "sampled"]:
        return "sampled" if self.memoryless else "greedy"

    def scores(self, task: TabularPOMDP, solution: Solution, seeds: Sequence[int]) -> tuple[list[float], list[float]]:
        """J and its standard error per seed: computed for a table, sampled over `EPISODES` episodes otherwise."""
        if self.table is not None:
            (value,) = exact_scores(task, self.table(task, solution)[None])
            return [float(value)] * len(seeds), [0.0] * len(seeds)
        env, params, policy = tabular_env(task), tabular_params(task), controller_policy(solution.history)
        play = jax.jit(lambda key: simulate(key, env, params, policy, EPISODES, task.horizon))
        returns = np.array([play(key_of(seed)) for seed in seeds], np.float64)
        errors = returns.std(1, ddof=1) / np.sqrt(EPISODES)
        return [float(mean) for mean in returns.mean(1)], [float(error) for error in errors]


ORACLES: dict[str, Oracle] = {
    "optimal": Oracle("the kept optimal policy of the history, played in the environment", None),
    "best_memoryless": Oracle("the best memoryless policy found, stochastic", lambda _, solution: solution.stochastic),
    "random": Oracle("the uniform policy", lambda task, _: uniform_policy(task)),
}
