"""What it costs in memory to learn from histories: a carry against the history written out at every step.

    python benchmarks/history_memory.py --out benchmarks/results/history_memory_cpu.json

Both compute the gradient of the same loss over one rollout as long as the horizon. The carry is a GRU's; the history
written out is a window as long as the horizon, [T, B, T * inputs] numbers. Bytes are the compiler's own account of the
temporary buffers of the program.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from seqrl_jax.networks import GRU, Memory, Weights, Window
from seqrl_jax.results.provenance import write_measurement

HORIZONS = (32, 64, 128, 256, 512)
BATCH, INPUTS, WIDTH = 16, 8, 64


def temporary_bytes(memory: Memory, horizon: int) -> int:
    carry = memory.initial_carry(BATCH)

    def loss(weights: Weights, xs: jax.Array, firsts: jax.Array) -> jax.Array:
        return jnp.square(memory.apply(weights, carry, (xs,), firsts)[1]).mean()

    xs = jax.ShapeDtypeStruct((horizon, BATCH, INPUTS), jnp.float32)
    firsts = jax.ShapeDtypeStruct((horizon, BATCH), jnp.bool_)
    weights = jax.eval_shape(lambda xs, firsts: memory.init(jax.random.key(0), carry, (xs,), firsts), xs, firsts)
    return jax.jit(jax.grad(loss)).lower(weights, xs, firsts).compile().memory_analysis().temp_size_in_bytes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    rows = []
    for horizon in HORIZONS:
        row = {
            "horizon": horizon,
            "carry_bytes": temporary_bytes(GRU(WIDTH), horizon),
            "written_out_bytes": temporary_bytes(Window(horizon, WIDTH), horizon),
        }
        rows.append(row)
        print(row, flush=True)
    growth = {
        name: float(np.polyfit(np.log(HORIZONS[1:]), np.log([row[name] for row in rows[1:]]), 1)[0])
        for name in ("carry_bytes", "written_out_bytes")
    }
    print(f"bytes grow as horizon to the power of {growth}")
    if options.out:
        write_measurement(options.out, {"rows": rows, "growth_exponent": growth})


if __name__ == "__main__":
    main()
