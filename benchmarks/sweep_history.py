"""The hyperparameters that the registry ships for agents with memory, chosen on seeds that no table uses.

    python benchmarks/sweep_history.py --agents ppo --out benchmarks/results/sweep_history_ppo.json

Every candidate runs on the headline tasks; its score is the mean over tasks and seeds of the memory score, cut at -1
and 1, so that no single task decides. Candidates that differ in traced hyperparameters only are one compiled program.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from seqrl_jax.agents import make_agent, train
from seqrl_jax.results.provenance import write_measurement
from seqrl_jax.tasks import stack
from seqrl_jax.tracks.evaluation import simulate
from seqrl_jax.tracks.pomdp import problem
from seqrl_jax.tracks.suites import HEADLINE

SEEDS = tuple(range(1000, 1005))
EPISODES = 1000
# agent -> (static, traced): values of every hyperparameter that is tried.
GRIDS: dict[str, tuple[dict[str, tuple], dict[str, tuple]]] = {
    "ppo": ({"num_envs": (16,)}, {"learning_rate": (0.003, 0.01), "entropy_cost": (0.03, 0.06)}),
    "pqn": ({"num_envs": (16,)}, {"learning_rate": (0.001, 0.002), "exploration_share": (0.5, 0.7)}),
    "drqn": ({"n_steps": (3, 5)}, {"learning_rate": (0.003,)}),
    "pg_history_baseline": ({"num_envs": (8, 16)}, {"learning_rate": (0.01,), "entropy_cost": (0.0, 0.02)}),
    "a2c_history": ({"num_envs": (8, 16)}, {"learning_rate": (0.001, 0.003)}),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--agents", nargs="+", default=list(GRIDS))
    parser.add_argument("--steps", type=int, default=300_000)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()

    problems = [problem(spec) for spec in HEADLINE]
    env, params = stack([problem.task for problem in problems])
    low, high = (
        np.array([problem.solution.values[name].lower for problem in problems])
        for name in ("memoryless_stochastic", "history")
    )
    keys = jax.vmap(jax.random.key)(jnp.array(SEEDS))
    rows = []
    for name in options.agents:
        static, traced = GRIDS[name]
        for fixed in _combinations(static):
            base = dataclasses.replace(make_agent(name), **fixed).for_run(env.longest, options.steps)
            varied = _combinations(traced)
            agents = jax.tree.map(
                lambda *values: jnp.array(values, jnp.float32),
                *(dataclasses.replace(base, **values) for values in varied),
            )

            def value(agent: Any, params: Any, key: Any) -> Any:
                train_key, play_key = jax.random.split(key)
                state, _ = train(agent, env, params, train_key, options.steps)
                return simulate(play_key, env, params, agent.policy(env, params, state), EPISODES, env.longest).mean()

            over_seeds = jax.vmap(value, in_axes=(None, None, 0))
            over_tasks = jax.vmap(over_seeds, in_axes=(None, 0, None))
            began = time.perf_counter()
            values = np.asarray(jax.jit(jax.vmap(over_tasks, in_axes=(0, None, None)))(agents, params, keys))
            memory = (np.nan_to_num(values, nan=-1e9) - low[:, None]) / (high - low)[:, None]
            memory = np.clip(memory, -1, 1)
            print(f"{name} {fixed}: {time.perf_counter() - began:.0f} s", flush=True)
            for changed, scores in zip(varied, memory, strict=True):
                per_task = dict(zip(HEADLINE, scores.mean(1).round(4).tolist(), strict=True))
                rows.append({"agent": name, **fixed, **changed, "score": float(scores.mean()), "tasks": per_task})
                print(f"  {rows[-1]['score']:.3f} {changed} {list(per_task.values())}", flush=True)
    if options.out:
        told = {
            "seeds": SEEDS,
            "steps": options.steps,
            "rows": rows,
        }
        write_measurement(options.out, told)


def _combinations(grid: dict[str, tuple]) -> list[dict[str, Any]]:
    return [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]


if __name__ == "__main__":
    main()
