"""How long each backbone remembers: PPO on T-mazes that carry the agent to the junction, one backbone at a time.

    python benchmarks/tmaze_lengths.py --out benchmarks/results/tmaze_lengths_cpu.json

The corridor moves by itself (`carried=true`), so exploration plays no part: one bit, seen first, is asked for last. The
memory score is 0 for the best policy that forgot the cue and 1 for the optimum. All lengths and seeds of a backbone are
one compiled program; rollouts are as long as the longest episode, so that no gradient is cut short.
"""

from __future__ import annotations

import argparse
import dataclasses
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np

from seqrl_jax.agents import make_agent, train
from seqrl_jax.networks import MEMORIES
from seqrl_jax.results.provenance import write_measurement
from seqrl_jax.results.statistics import estimate
from seqrl_jax.tasks import make, stack
from seqrl_jax.tracks.evaluation import simulate

LENGTHS = (5, 10, 20, 50, 100, 200)
GOOD, BLIND = 4.0, (4.0 - 0.1) / 2
EPISODES = 500
LEFT_OUT = ("table", "none", "latent")
"""What remembers nothing, and what learns a model of the world beside."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--memories", nargs="+", default=[name for name in MEMORIES if name not in LEFT_OUT])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--updates", type=int, default=150)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()

    tasks = [make(f"tmaze:length={n},carried=true,discount=1,horizon={n + 2}") for n in LENGTHS]
    env, params = stack(tasks)
    horizon = env.longest
    keys = jax.random.split(jax.random.key(0), options.seeds)
    rows: list[dict[str, Any]] = []
    for name in options.memories:
        shipped = dataclasses.replace(make_agent(f"ppo:memory={name}"), rollout_length=horizon)
        steps = options.updates * shipped.steps_per_update
        agent = shipped.for_run(horizon, steps)

        def run(params: Any, key: Any, agent: Any = agent, steps: int = steps) -> Any:
            train_key, play_key = jax.random.split(key)
            state, _ = train(agent, env, params, train_key, steps)
            return simulate(play_key, env, params, agent.policy(env, params, state), EPISODES, horizon).mean()

        began = time.perf_counter()
        values = np.asarray(jax.jit(jax.vmap(jax.vmap(run, (None, 0)), (0, None)))(params, keys), np.float64)
        seconds = time.perf_counter() - began
        for length, scores in zip(LENGTHS, (values - BLIND) / (GOOD - BLIND), strict=True):
            row = {"memory": name, "length": length, **estimate(scores).as_json()}
            rows.append({**row, "seeds": options.seeds, "steps": steps, "program_seconds": seconds})
        line = ", ".join(f"{row['length']}: {row['value']:.2f}" for row in rows if row["memory"] == name)
        print(f"{name:<18}{line}   ({seconds:.0f} s)", flush=True)
        if options.out:
            write_measurement(options.out, {"rows": rows})


if __name__ == "__main__":
    main()
