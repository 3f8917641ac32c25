"""The two findings of the DRQN paper (Hausknecht & Stone, 2015), between certified lines.

    python benchmarks/flicker.py --out benchmarks/results/flicker_cpu.json

On fully observed tasks a recurrent Q-network does as well as one of the observation (the interval of the difference of
normalised scores lies within .01 of 0, where it does); where the screen flickers it does better. Both agents are the
same code with the same hyperparameters but for the memory, and both have Q(h) through layers of the same width; with
the memory comes the agent's own last action.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import bootstrap

from seqrl_jax.agents import make_agent
from seqrl_jax.results.provenance import write_measurement
from seqrl_jax.tasks import TASKS
from seqrl_jax.tracks.base import Budget
from seqrl_jax.tracks.pomdp import problem
from seqrl_jax.tracks.training import stacked, train_row

FLICKERING = ("flicker_grid",)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--steps", type=int, default=300_000)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()

    specs = [*(f"{name}:observed=true" for name in TASKS), *FLICKERING]
    problems = [problem(spec) for spec in specs]
    tasks = stacked([problem.task for problem in problems])
    budget = Budget(options.steps, 1, tuple(range(options.seeds)))
    scores = {}
    for name in ("q_obs", "drqn"):
        trained = train_row(make_agent(name), tasks, budget)
        scores[name] = np.array(trained.scores, float)
        print(
            f"{name}: {trained.spent.compilation:.0f} s compiling, {trained.spent.training:.0f} s training", flush=True
        )
    rows: list[dict[str, Any]] = []
    for index, problem_ in enumerate(problems):
        values = problem_.solution.values
        unit = values["history"].lower - values["random"].lower
        dqn, drqn = ((scores[name][index] - values["random"].lower) / unit for name in ("q_obs", "drqn"))
        rows.append({"task": problem_.spec, "q_obs": dqn.mean(), "drqn": drqn.mean(), **difference(drqn, dqn)})
        print(rows[-1], flush=True)
    observed = [index for index, spec in enumerate(specs) if spec.endswith("observed=true")]
    units = [(p.solution.values["history"].lower - p.solution.values["random"].lower) for p in problems]
    mean_over = lambda name: np.mean([scores[name][i] / units[i] for i in observed], 0)
    overall = difference(mean_over("drqn"), mean_over("q_obs"))
    print("over the observed twins, normalised:", overall)
    if options.out:
        write_measurement(
            options.out, {"rows": rows, "observed_twins": overall, "seeds": options.seeds, "steps": options.steps}
        )


def difference(one: np.ndarray, other: np.ndarray) -> dict[str, float]:
    """Mean of one - other over seeds, and its 95% bootstrap interval, the two resampled independently."""
    if np.ptp(one) == np.ptp(other) == 0:
        low = high = float(one[0] - other[0])
    else:
        mean = lambda a, b, axis: a.mean(axis) - b.mean(axis)
        interval = bootstrap((one, other), mean, method="percentile", rng=np.random.default_rng(0)).confidence_interval
        low, high = float(interval.low), float(interval.high)
    return {"difference": float(one.mean() - other.mean()), "low": low, "high": high}


if __name__ == "__main__":
    main()
