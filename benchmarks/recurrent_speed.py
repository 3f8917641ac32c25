"""How fast recurrent agents train: against the textbook loop, against another library, and over stacked seeds.

    python benchmarks/recurrent_speed.py --out benchmarks/results/recurrent_speed_cpu.json

`textbook` is the same PPO, update for update, with the GRU that the JAX libraries share: flax's cell inside `nn.scan`,
input projections in the loop, the carry reset by `where`, gradients by automatic differentiation. All programs of one
size run in this process, alternating; cold and warm times stand apart. With --peers sb3-contrib's RecurrentPPO trains
on the same task through gymnasium (`benchmarks/peers/sb3_recurrent_ppo.py`, which see), in an environment of its own.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import statistics
import time
from collections.abc import Mapping
from math import gcd
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array
from peers.environment import printed_by
from peers.purejaxrl_ppo import ScannedGRU

from seqrl_jax.agents import make_agent, train
from seqrl_jax.agents.base import updates_in
from seqrl_jax.commands.programs import use_every_core
from seqrl_jax.networks import GRU, Memory
from seqrl_jax.networks.layers import Codes
from seqrl_jax.networks.module import Carry
from seqrl_jax.results.provenance import write_measurement
from seqrl_jax.settings import Width
from seqrl_jax.tasks import make, tabular_env, tabular_params
from seqrl_jax.throughput.measure import Program, measure
from seqrl_jax.throughput.training import training
from seqrl_jax.tracks.evaluation import simulate

TASK = "tmaze:length=10"


class Textbook(Memory):
    """A memory of it."""

    width: Width = 64

    @nn.nowrap
    def initial_carry(self, batch: int) -> Carry:
        return (jnp.zeros((batch, self.width)),)

    @nn.compact
    def unroll(self, carry: Carry, xs: Codes, firsts: Array) -> tuple[Carry, Array]:
        (state,) = carry
        state, ys = ScannedGRU(self.width)(state, (jnp.concatenate(xs, -1), firsts))
        return (state,), ys


def ppo(memory: Memory, num_envs: int = 64, rollout_length: int = 128) -> Any:
    return dataclasses.replace(make_agent("ppo"), memory=memory, num_envs=num_envs, rollout_length=rollout_length)


def programs(agents: Mapping[str, Any], updates: int, runs: int = 1) -> dict[str, Program]:
    """Each agent's training on the task, its runs over as many devices as divide them."""
    task = make(TASK)
    env, params, devices = tabular_env(task), tabular_params(task), gcd(runs, jax.device_count())
    return {name: training(agent, env, params, updates, runs, devices) for name, agent in agents.items()}


def against_textbook(width: int, repeats: int, updates: int = 2) -> dict[str, Any]:
    agents = {"seqrl_jax": ppo(GRU(width)), "textbook": ppo(Textbook(width))}
    ours, theirs = measure(programs(agents, updates), repeats)
    return {
        "what": f"recurrent PPO, 64 environments x 128 steps, GRU-{width}",
        "steps_per_second": {row.what: row.steps_per_second for row in (ours, theirs)},
        "compile_seconds": {row.what: row.compile_seconds for row in (ours, theirs)},
        "median_ratio": statistics.median(b / a for a, b in zip(ours.seconds, theirs.seconds, strict=True)),
    }


def over_seeds(repeats: int, counts: tuple[int, ...] = (1, 10, 50)) -> dict[str, Any]:
    """The shipped PPO, runs over as many devices as divide them; seconds per seed of the same number of updates."""
    agent, updates = make_agent("ppo"), 4
    stacked = {str(count): programs({"ppo": agent}, updates, count)["ppo"] for count in counts}
    rows = measure(stacked, repeats)
    per_seed = {row.what: statistics.median(row.seconds) / row.batch for row in rows}
    return {
        "what": f"recurrent PPO as shipped, {agent.num_envs} environments x {agent.rollout_length} steps",
        "warm_seconds_per_seed": per_seed,
        "devices": {row.what: row.devices for row in rows},
        "share_of_a_single_run": {name: value / per_seed["1"] for name, value in per_seed.items()},
        "compile_seconds": {row.what: row.compile_seconds for row in rows},
        "steps_per_second": {name: updates * agent.steps_per_update / value for name, value in per_seed.items()},
    }


RECALL_RATE = 0.001


def recall(steps: int = 1_000_000, length: int = 98, seeds: int = 10) -> dict[str, Any]:
    """PQN on a cue that has to be kept for 100 steps: one cold program of all seeds, compilation included, and what was
    learned. At a rate of its own: at the shipped one, half as large, a seed in ten needs longer."""
    task = make(f"tmaze:length={length},carried=true,discount=1,horizon={length + 2}")
    env, params = tabular_env(task), tabular_params(task)
    agent = dataclasses.replace(make_agent(f"pqn:learning_rate={RECALL_RATE}"), rollout_length=128).for_run(
        task.horizon, steps
    )

    def one(key: Array) -> Array:
        state, _ = train(agent, env, params, key, steps)
        return simulate(key, env, params, agent.policy(env, params, state), 100, task.horizon).mean()

    jax.clear_caches()
    began = time.perf_counter()
    returns = jax.block_until_ready(jax.jit(jax.vmap(one))(jax.random.split(jax.random.key(0), seeds)))
    seconds = time.perf_counter() - began
    made = updates_in(agent, steps) * agent.steps_per_update
    return {
        "what": f"PQN at a rate of {RECALL_RATE} on {task.name}, {seeds} seeds x {made} steps, compilation included",
        "cold_seconds": seconds,
        "mean_return": float(returns.mean()),
        "returns": [float(value) for value in returns],
        "optimum": 4.0,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--widths", type=int, nargs="+", default=[128, 256])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--peers", action="store_true")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    use_every_core()

    textbook = [against_textbook(width, options.repeats) for width in options.widths]
    measured: dict[str, Any] = {"textbook": textbook}
    print(json.dumps(textbook, indent=1), flush=True)
    if options.peers:
        measured["peers"] = []
        for width, ours in zip(options.widths, textbook, strict=True):
            sizes = ["--num-envs", "64", "--rollout-length", "128", "--width", str(width)]
            theirs = printed_by("sb3", "sb3_recurrent_ppo.py", *sizes)
            ratio = ours["steps_per_second"]["seqrl_jax"] / theirs["steps_per_second"]
            measured["peers"].append({"what": ours["what"], "ratio": ratio, **theirs})
        print(json.dumps(measured["peers"], indent=1), flush=True)
    measured["seeds"] = over_seeds(options.repeats)
    print(json.dumps(measured["seeds"], indent=1), flush=True)
    measured["recall"] = recall()
    print(json.dumps(measured["recall"], indent=1), flush=True)
    if options.out:
        write_measurement(options.out, measured)


if __name__ == "__main__":
    main()
