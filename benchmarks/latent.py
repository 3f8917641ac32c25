"""Agents on a learned latent state, between the exact belief and nothing: what they earn and what their model knows.

    python benchmarks/latent.py --out benchmarks/results/latent_cpu.json

Beside the memory score stand, in nats per step along episodes of the final policy: the log-loss of what the model
predicts and that of the exact filter, its floor; the cross-entropy of a linear probe from z to the state and the
entropy of the exact belief, its floor; and the divergence KL(q || p).
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from seqrl_jax.agents import make_agent, train
from seqrl_jax.audit.latent import knowledge, play
from seqrl_jax.commands.programs import use_every_core
from seqrl_jax.devices import over_devices
from seqrl_jax.results.provenance import write_measurement
from seqrl_jax.tasks import stack
from seqrl_jax.tracks.evaluation import simulate
from seqrl_jax.tracks.pomdp import problem

TASKS = (
    "locked_doors",
    "peek_maze",
    "tmaze:length=5",
    "heaven_hell",
    "repeat_previous",
    "flicker_grid",
    "tiger",
)
EPISODES, ENVS, SAMPLES = 4000, 128, 64


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--agents", nargs="+", default=["latent_q", "belief_q"])
    parser.add_argument("--tasks", nargs="+", default=list(TASKS))
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--steps", type=int, default=600_000)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()

    use_every_core()
    problems = [problem(spec) for spec in options.tasks]
    env, params = stack([problem.task for problem in problems])
    horizon = env.longest
    ends = lambda name: np.array([problem.solution.values[name].lower for problem in problems])
    low, history, random = ends("memoryless_stochastic"), ends("history"), ends("random")
    runs = over_devices(len(problems) * options.seeds)
    task, seed = np.divmod(runs.index, options.seeds)
    laid = lambda tree: jax.device_put(tree, runs.sharding)
    own = laid(jax.tree.map(lambda leaf: leaf[task], params))
    keys = laid(jax.vmap(jax.random.key)(jnp.asarray(seed)))
    by_task = lambda leaf: np.asarray(leaf)[: runs.size].reshape(len(problems), options.seeds, *leaf.shape[1:])
    rows: list[dict[str, Any]] = []
    for name in options.agents:
        agent: Any = make_agent(name).for_run(horizon, options.steps)

        def one(params: Any, key: Any, agent: Any = agent, name: str = name) -> Any:
            train_key, play_key, look_key, predict_key = jax.random.split(key, 4)
            state, _ = train(agent, env, params, train_key, options.steps)
            value = simulate(play_key, env, params, agent.policy(env, params, state), EPISODES, horizon).mean()
            if not name.startswith("latent"):
                return value, None
            rollout = play(look_key, agent, env, params, state, ENVS, 2 * horizon)
            network, weights = agent.network_in(env), state.train.weights
            return value, knowledge(predict_key, network, weights, env, params, rollout, state.magnitude, SAMPLES)

        began = time.perf_counter()
        values, known = jax.tree.map(by_task, jax.jit(jax.vmap(one))(own, keys))
        print(f"{name}: {time.perf_counter() - began:.0f} s", flush=True)
        for index, spec in enumerate(options.tasks):
            memory = (values[index] - low[index]) / (history[index] - low[index])
            normalised = (values[index] - random[index]) / (history[index] - random[index])
            row = {
                "agent": name,
                "task": spec,
                "memory": memory.tolist(),
                "normalised": normalised.tolist(),
                "returns": values[index].tolist(),
            }
            if known is not None:
                row |= {field: float(np.mean(part[index])) for field, part in known._asdict().items()}
                row["excess"] = row["log_loss"] / row["filter_log_loss"] - 1 if row["filter_log_loss"] > 1e-6 else None
            rows.append(row)
            print({key: value for key, value in row.items() if not isinstance(value, list)}, flush=True)
    if options.out:
        write_measurement(options.out, {"rows": rows, "seeds": options.seeds, "steps": options.steps})


if __name__ == "__main__":
    main()
