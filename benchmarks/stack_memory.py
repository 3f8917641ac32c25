"""What a row needs in memory, by the runs that are stacked in it.

    python benchmarks/stack_memory.py --out benchmarks/results/stack_memory_cpu.json

Agents as they ship, with whole runs in one program on one device: bytes are the compiler's own account of what the
program reads, writes and keeps meanwhile, so nothing is run. What each run adds is the difference of the two largest
stacks by the runs between them.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import jax

from seqrl_jax.agents import make_agent
from seqrl_jax.results.provenance import write_measurement
from seqrl_jax.tasks.environments import environment
from seqrl_jax.throughput.measure import planned_memory
from seqrl_jax.throughput.training import training

TASK, UPDATES = "tmaze:length=10", 4
AGENTS = ("reward_to_go", "ppo", "pqn", "drqn")
RUNS = (1, 4, 16, 64, 256)


def planned(name: str, runs: int) -> int:
    """Bytes of so many runs of an agent. Raises: RuntimeError, where the compiler does not say."""
    ready = environment(TASK)
    program = training(make_agent(name), ready.env, ready.params, UPDATES, runs)
    memory = planned_memory(program.run.lower(jax.random.key(0)).compile())
    if memory is None:
        raise RuntimeError(f"the compiler for {jax.default_backend()} does not say what a program needs")
    return memory


def row(name: str) -> dict[str, Any]:
    """An agent's bytes by runs, and what each run adds."""
    memory = {runs: planned(name, runs) for runs in RUNS}
    fewer, most = RUNS[-2:]
    return {"agent": name, "bytes": memory, "bytes_a_run": (memory[most] - memory[fewer]) / (most - fewer)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    rows = []
    for name in AGENTS:
        rows.append(row(name))
        print(rows[-1], flush=True)
    if options.out:
        write_measurement(options.out, {"task": TASK, "rows": rows})


if __name__ == "__main__":
    main()
