"""What it costs to lay a row over devices: the same runs vmapped on one device and over 2, 4 and 8 of them.

    python benchmarks/sharding.py --out benchmarks/results/sharding_cpu.json

A row is an agent on one task with as many seeds as `--runs`. All sides make the same updates of the same runs, which
need nothing of each other; a side differs in the number of devices alone. Where they are the cores of a CPU, and more
than it has, they are virtual: what a side then takes longer than the fastest is what laying runs over devices costs.
Sides alternate, in one process; cold is the compilation of a side's programs, warm its updates when they are compiled.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from seqrl_jax.agents import make_agent
from seqrl_jax.devices import first_devices, usable_cores
from seqrl_jax.keys import key_of
from seqrl_jax.results.provenance import write_measurement
from seqrl_jax.runs.programs import use_cores
from seqrl_jax.tracks.axis import Where, over_runs
from seqrl_jax.tracks.pomdp import problem
from seqrl_jax.tracks.training import chunk_of, stacked


class Side(NamedTuple):
    """The compiled programs of a row: its runs before the first update, and (runs, updates) -> runs, which it gives
    up."""

    begin: Callable[[], Any]
    advance: Callable[[Any, int], Any]


def compiled(agent: str, task: str, runs: int, steps: int, devices: int) -> Side:
    """The row over so many devices."""
    tasks = stacked([problem(task).task])
    fitted = make_agent(agent).for_run(tasks.env.longest, steps)
    settings = jax.tree.map(lambda leaf: jnp.asarray([leaf], jnp.float32), fitted)
    lie = first_devices(devices)
    where = jax.device_put(Where(jnp.zeros(runs, jnp.int32), jnp.zeros(runs, jnp.int32)), lie)
    keys = jax.device_put(jnp.stack([key_of(seed) for seed in range(runs)]), lie)
    init = jax.jit(over_runs(lambda agent, params, key: agent.init(key, tasks.env, params)), out_shardings=lie)
    begin = init.lower(settings, tasks.params, where, keys).compile()
    chunk = jax.jit(chunk_of(tasks.env), donate_argnums=3, out_shardings=lie)
    example = jax.eval_shape(init, settings, tasks.params, where, keys)
    example = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=lie), example)
    advance = chunk.lower(settings, tasks.params, where, example, 1).compile()
    return Side(
        lambda: begin(settings, tasks.params, where, keys),
        lambda states, updates: advance(settings, tasks.params, where, states, updates),
    )


def measured(
    agent: str, task: str, runs: int, updates: int, counts: Sequence[int], repeats: int, cold_repeats: int
) -> list[dict[str, Any]]:
    """A row for each number of devices."""
    cold: dict[int, list[float]] = {count: [] for count in counts}
    warm: dict[int, list[float]] = {count: [] for count in counts}
    sides: dict[int, Side] = {}
    for _ in range(cold_repeats):
        for count in counts:
            jax.clear_caches()
            began = time.perf_counter()
            sides[count] = compiled(agent, task, runs, updates, count)
            cold[count].append(time.perf_counter() - began)
    ends: dict[int, Any] = {}
    for repeat in range(repeats + 1):
        # Every other time in the opposite order, so that no side always follows the same one.
        for count in counts[:: 1 if repeat % 2 else -1]:
            states = jax.block_until_ready(sides[count].begin())
            began = time.perf_counter()
            ends[count] = jax.block_until_ready(sides[count].advance(states, updates))
            # The first time is that of a program that has never run.
            if repeat:
                warm[count].append(time.perf_counter() - began)
    fastest = min(map(statistics.median, warm.values()))
    alone = statistics.median(warm[counts[0]])
    return [
        {
            "agent": agent,
            "task": task,
            "runs": runs,
            "updates": updates,
            "devices": count,
            "cold_seconds": cold[count],
            "warm_seconds": warm[count],
            "cold_median": statistics.median(cold[count]),
            "warm_median": statistics.median(warm[count]),
            "warm_against_one_device": statistics.median(warm[count]) / alone,
            "warm_against_fastest": statistics.median(warm[count]) / fastest,
            "largest_difference": difference(ends[counts[0]], ends[count]),
        }
        for count in counts
    ]


def difference(one: Any, other: Any) -> float:
    """Between the numbers of two states, the largest one; those that are no floating-point numbers count too."""
    numbers = lambda leaf: jax.random.key_data(leaf) if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key) else leaf
    pairs = zip(*(map(numbers, jax.tree.leaves(tree)) for tree in (one, other)), strict=True)
    return max(float(np.abs(np.asarray(a, np.float64) - np.asarray(b, np.float64)).max(initial=0.0)) for a, b in pairs)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--agents", nargs="+", default=["reward_to_go", "ppo"])
    parser.add_argument("--task", default="tiger")
    parser.add_argument("--runs", type=int, default=16, help="divided by all numbers of devices")
    parser.add_argument("--updates", type=int, nargs="+", default=[200, 4], help="for each agent, in each repeat")
    parser.add_argument("--devices", type=int, nargs="+", default=[1, 2, 4, 8])
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--cold-repeats", type=int, default=3)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    if any(options.runs % count for count in options.devices):
        parser.error(f"{options.runs} runs do not divide over each of {options.devices} devices")
    use_cores(max(options.devices))

    rows = list[dict[str, Any]]()
    for agent, updates in zip(options.agents, options.updates, strict=True):
        rows += measured(
            agent, options.task, options.runs, updates, options.devices, options.repeats, options.cold_repeats
        )
        for row in rows[-len(options.devices) :]:
            print(
                f"{agent}, {row['runs']} runs on {row['devices']} devices: cold {row['cold_median']:.2f} s, "
                f"warm {row['warm_median']:.3f} s, {row['warm_against_one_device']:.2f} of one device, "
                f"{row['warm_against_fastest']:.2f} of the fastest, apart {row['largest_difference']:.1g}",
                flush=True,
            )
    if options.out:
        write_measurement(options.out, {"cores": usable_cores(), "rows": rows})


if __name__ == "__main__":
    main()
