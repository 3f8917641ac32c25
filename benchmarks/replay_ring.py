"""The replay's ring of blocks against flashbax's trajectory buffer: same shapes, same capacity, stacked and donated.

    python benchmarks/peers/environment.py flashbax benchmarks/replay_ring.py --out replay_ring_cpu.json

Both hold 64 rollouts of 16 environments x 32 steps per run; one iteration adds a rollout and draws 4 batches of 32
sequences. Runs are stacked by `vmap`, iterations are a `scan`, and the state is donated.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import flashbax
import jax
import jax.numpy as jnp
from jax import Array

from seqrl_jax.agents import replay
from seqrl_jax.results.provenance import write_measurement

ENVS, LENGTH, BLOCKS, SEQUENCES, DRAWS, ITERATIONS = 16, 32, 64, 32, 4, 50


def block(key: Array) -> dict[str, Array]:
    """[B, T] of the fields that an agent replays."""
    numbers = jax.random.randint(key, (ENVS, LENGTH), 0, 10)
    flags = numbers > 8
    return {"obs": numbers, "action": numbers, "reward": numbers.astype(jnp.float32), "last": flags, "first": flags}


def checksum(sequences: dict[str, Array]) -> Array:
    """Depends on everything that was drawn."""
    return sum(leaf.astype(jnp.float32).sum() for leaf in sequences.values())


def ring() -> tuple[Callable[[], Any], Callable[[Any, Array], tuple[Any, Array]]]:
    def iterate(state: Any, key: Array) -> tuple[Any, Array]:
        add_key, draw_key = jax.random.split(key)
        state = replay.add(state, block(add_key))

        def draw(key: Array) -> Array:
            drawn = replay.sample(key, state, SEQUENCES, 0.0, False)
            return checksum(replay.read(state, drawn.slot, drawn.env))

        return state, sum(draw(key) for key in jax.random.split(draw_key, DRAWS))

    return lambda: replay.empty(BLOCKS, jax.eval_shape(block, jax.random.key(0))), iterate


def trajectory_buffer() -> tuple[Callable[[], Any], Callable[[Any, Array], tuple[Any, Array]]]:
    buffer = flashbax.make_trajectory_buffer(
        add_batch_size=ENVS,
        sample_batch_size=SEQUENCES,
        sample_sequence_length=LENGTH,
        period=LENGTH,
        min_length_time_axis=LENGTH,
        max_length_time_axis=LENGTH * BLOCKS,
    )

    def iterate(state: Any, key: Array) -> tuple[Any, Array]:
        add_key, draw_key = jax.random.split(key)
        state = buffer.add(state, block(add_key))
        keys = jax.random.split(draw_key, DRAWS)
        return state, sum(checksum(buffer.sample(state, key).experience) for key in keys)

    return lambda: buffer.init(jax.tree.map(lambda leaf: leaf[0, 0], block(jax.random.key(0)))), iterate


def program(kind: Callable[[], Any], runs: int) -> Callable[[Array], float]:
    """One call: ITERATIONS iterations of all runs from an empty replay; returns the seconds."""
    empty, iterate = kind()
    start = jax.jit(lambda: jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (runs, *leaf.shape)), empty()))

    def one(state: Any, key: Array) -> tuple[Any, Array]:
        return jax.lax.scan(iterate, state, jax.random.split(key, ITERATIONS))

    step = jax.jit(jax.vmap(one), donate_argnums=0)

    def call(key: Array) -> float:
        state = jax.block_until_ready(start())
        began = time.perf_counter()
        jax.block_until_ready(step(state, jax.random.split(key, runs)))
        return time.perf_counter() - began

    return call


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, nargs="+", default=[1, 50])
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    rows = []
    for runs in options.runs:
        programs = {"ring": program(ring, runs), "flashbax": program(trajectory_buffer, runs)}
        keys = jax.random.split(jax.random.key(0), options.repeats + 1)
        cold = {name: call(keys[0]) for name, call in programs.items()}
        warm = {name: [] for name in programs}
        for key in keys[1:]:
            for name, call in programs.items():
                warm[name].append(call(key))
        median = {name: statistics.median(seconds) for name, seconds in warm.items()}
        rows.append(
            {
                "runs": runs,
                "cold_seconds": cold,
                "iterations_per_second_and_run": {name: ITERATIONS / median[name] for name in programs},
                "flashbax_over_ring": median["flashbax"] / median["ring"],
            }
        )
        print(json.dumps(rows[-1]), flush=True)
    if options.out:
        write_measurement(options.out, {"rows": rows, "flashbax": importlib.metadata.version("flashbax")})


if __name__ == "__main__":
    main()
