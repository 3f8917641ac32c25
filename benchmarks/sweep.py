"""The hyperparameters that the registry ships: one set per agent for all tasks, chosen on seeds that no table uses.

    python benchmarks/sweep.py --out benchmarks/results/sweep_memoryless.json

Every candidate runs on all tabular tasks; its score is the mean over tasks of J between `random` and the best
memoryless policy found, cut at -1 and 1, so that no single task decides.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
from pathlib import Path

import numpy as np

from seqrl_jax.agents import AGENTS, make_agent
from seqrl_jax.results.provenance import write_measurement
from seqrl_jax.tasks import TASKS
from seqrl_jax.tracks.base import Budget
from seqrl_jax.tracks.pomdp import PomdpProblem, problem
from seqrl_jax.tracks.training import train_row

SEEDS = tuple(range(1000, 1005))
GRIDS = {
    "PolicyGradient": {
        "learning_rate": (0.03, 0.1, 0.3),
        "value_learning_rate": (0.1, 0.3),
        "num_envs": (8, 16, 32),
    },
    "PPO": {"learning_rate": (0.01, 0.03, 0.1), "num_envs": (8, 16, 32), "epochs": (4, 8)},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--agents", nargs="+", default=list(AGENTS))
    parser.add_argument("--steps", type=int, default=200_000)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()

    problems = [problem(spec) for spec in TASKS]
    budget = Budget(options.steps, 1, SEEDS)
    rows = []
    for name in options.agents:
        base = make_agent(name)
        grid = GRIDS[type(base).__name__]
        for values in itertools.product(*grid.values()):
            chosen = dict(zip(grid, values, strict=True))
            trained = train_row(dataclasses.replace(base, **chosen), problems, budget)
            per_task = {
                problem.spec: _share(problem, np.array(scores, float))
                for problem, scores in zip(problems, trained.scores, strict=True)
            }
            known = [share for share in per_task.values() if share is not None]
            rows.append({"agent": name, **chosen, "score": float(np.mean(known)), "tasks": per_task})
            print(f"{name:<16}{chosen} {rows[-1]['score']:.4f}", flush=True)
    if options.out:
        told = {
            "seeds": SEEDS,
            "steps": options.steps,
            "rows": rows,
        }
        write_measurement(options.out, told)


def _share(problem: PomdpProblem, scores: np.ndarray) -> float | None:
    """How much of the way from random to the best memoryless policy; None where there is no way to go."""
    low = problem.solution.values["random"].lower
    high = problem.solution.values["memoryless_stochastic"].lower
    if high - low < 1e-6:
        return None
    return float(np.clip((np.nan_to_num(scores, nan=low) - low) / (high - low), -1, 1).mean())


if __name__ == "__main__":
    main()
