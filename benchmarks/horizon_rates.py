"""How much of horizon generalisation is the learning rate: every memory at every rate that its sweep tries.

    python benchmarks/horizon_rates.py --out benchmarks/results/horizon_rates_cpu.json

In the T-maze, where nearly every rate is right at the length of training, so that the sweep of
`horizon_generalisation.py` chooses among equals. The seeds are those that it reports; they choose nothing here.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from horizon_generalisation import FAMILIES, LEFT_OUT, RATES, TIMES, scores, trained
from recorded import record_memories

from seqrl_jax.agents import make_agent
from seqrl_jax.commands.programs import use_every_core
from seqrl_jax.networks import MEMORIES

MAZE = FAMILIES[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--memories", nargs="+", default=[name for name in MEMORIES if name not in LEFT_OUT])
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--steps", type=int, default=150_000)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    use_every_core()
    budget = {"seeds": options.seeds, "steps": options.steps}
    for row in record_memories(options.memories, options.out, at_every_rate, **budget):
        print(row, flush=True)


def at_every_rate(name: str, seeds: int, steps: int) -> dict[str, Any]:
    """A memory's row; scores: times the length of training -> rate -> the mean over seeds."""
    shipped = make_agent(f"pqn:memory={name}")
    agent = shipped.for_run(MAZE.task(1).horizon, steps)
    rates, numbers = np.repeat(np.float32(RATES), seeds), np.tile(np.arange(seeds, dtype=np.int32), len(RATES))
    states, _ = trained(MAZE, agent, rates, numbers, steps)
    means = {n: scores(MAZE, shipped, states, n, steps).reshape(len(RATES), seeds).mean(1) for n in TIMES}
    by_rate = {str(n): dict(zip(map(str, RATES), each.tolist(), strict=True)) for n, each in means.items()}
    return {"memory": name, "scores": by_rate}


if __name__ == "__main__":
    main()
