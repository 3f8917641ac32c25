"""One table row as one compiled program, against the same cells run one after another, both cold.

    python benchmarks/stacked_row.py --out benchmarks/results/stacked_row_cpu.json

Both sides run the same agent on the same tasks with the same seeds, steps and evaluations through `train_row`; a cell
is one task with all seeds. Every repeat starts without compiled programs, and the sides alternate.
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path

import jax

from seqrl_jax.agents import make_agent
from seqrl_jax.results.provenance import write_measurement
from seqrl_jax.tasks import TASKS
from seqrl_jax.tracks.base import Budget
from seqrl_jax.tracks.pomdp import PomdpProblem, problem
from seqrl_jax.tracks.training import stacked, train_row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--agent", default="reward_to_go")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--steps", type=int, default=200_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()

    problems = [problem(spec) for spec in TASKS]
    agent = make_agent(options.agent)
    budget = Budget(options.steps, 20, tuple(range(options.seeds)))

    def cold(groups: list[list[PomdpProblem]]) -> float:
        jax.clear_caches()
        began = time.perf_counter()
        for group in groups:
            train_row(agent, stacked([problem.task for problem in group]), budget)
        return time.perf_counter() - began

    # The first use of XLA pays for its own start, which belongs to neither side.
    jax.block_until_ready(jax.jit(lambda x: x + 1)(1.0))
    together, one_by_one = [], []
    for repeat in range(options.repeats):
        together.append(cold([problems]))
        one_by_one.append(cold([[problem] for problem in problems]))
        print(f"repeat {repeat}: stacked {together[-1]:.1f} s, one after another {one_by_one[-1]:.1f} s", flush=True)
    measured = {
        "what": f"{options.agent}, {len(problems)} tasks x {options.seeds} seeds x {options.steps} steps, cold",
        "stacked_seconds": together,
        "one_after_another_seconds": one_by_one,
        "ratio_of_medians": statistics.median(one_by_one) / statistics.median(together),
    }
    print(f"{measured['what']}: {measured['ratio_of_medians']:.1f} times as fast in one program")
    if options.out:
        write_measurement(options.out, measured)


if __name__ == "__main__":
    main()
