"""PPO beside rejax's on CartPole: networks, environments, rollouts, epochs and minibatches of one size.

    python benchmarks/rejax_speed.py --out benchmarks/results/rejax_speed_cpu.json

rejax trains in an environment of its own (`benchmarks/peers/rejax_ppo.py`), ours before and after it, and our slower
time counts. Its policy and value are optimised one after the other, ours in one step.
"""

from __future__ import annotations

import argparse
import json
import statistics
from pathlib import Path

from peers.environment import printed_by
from peers.purejaxrl_ppo import SIZES, our_training

from seqrl_jax.commands.programs import use_every_core
from seqrl_jax.results.provenance import write_measurement
from seqrl_jax.throughput.measure import measure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--updates", type=int, default=20)
    parser.add_argument("--agents", type=int, nargs="+", default=[1, 16])
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    use_every_core()
    programs = {str(agents): our_training(SIZES["ppo"], options.updates, agents) for agents in options.agents}
    before = measure(programs, options.repeats)
    sizes = ["--updates", str(options.updates), "--repeats", str(options.repeats)]
    theirs = printed_by("rejax", "rejax_ppo.py", *sizes, "--agents", *map(str, options.agents))
    after = measure(programs, options.repeats)
    for row, first, second in zip(theirs["rows"], before, after, strict=True):
        ours = min(first.steps_per_second, second.steps_per_second)
        row["steps_per_second"] = {"seqrl_jax": ours, "rejax": row["steps"] / statistics.median(row["seconds"])}
        row["ratio"] = ours / row["steps_per_second"]["rejax"]
        print(json.dumps(row), flush=True)
    if options.out:
        write_measurement(options.out, {"rows": theirs["rows"], "rejax": theirs["versions"]["rejax"]})


if __name__ == "__main__":
    main()
