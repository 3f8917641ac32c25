"""Environment steps per second under a random policy: our T-maze against gymnax's MemoryChain.

    python benchmarks/env_throughput.py --out benchmarks/results/env_throughput_cpu.json

Both run in the same loop with the same keys, batch and number of steps, and both start the next episode by
themselves: gymnax in its own `step`, ours through `auto_reset`. A third row runs MemoryChain through `from_gymnax`
and our `auto_reset`.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import statistics
import sys
from dataclasses import asdict
from pathlib import Path

import gymnax
import jax

from seqrl_jax.files import write_whole
from seqrl_jax.results import provenance
from seqrl_jax.tasks import make, tabular_env, tabular_params
from seqrl_jax.tasks.gymnax_adapter import from_gymnax
from seqrl_jax.throughput.env import Program, measure, random_policy_rollout, rollout

OURS, THEIRS, ADAPTED = "seqrl_jax tmaze", "gymnax MemoryChain", "gymnax MemoryChain through from_gymnax"


def gymnax_program(name: str, batch: int, steps: int) -> Program:
    """gymnax as its documentation runs it: `vmap` over its `step`, which resets by itself."""
    env, params = gymnax.make(name)
    step = jax.vmap(env.step, in_axes=(0, 0, 0, None))
    return rollout(
        lambda keys: jax.vmap(env.reset, in_axes=(0, None))(keys, params),
        lambda keys, state, action: step(keys, state, action, params)[:3],
        env.num_actions,
        batch,
        steps,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch", type=int, default=2048)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()

    task = make("tmaze")
    chain, chain_params = gymnax.make("MemoryChain-bsuite")
    programs = {
        OURS: random_policy_rollout(tabular_env(task), tabular_params(task), options.batch, options.steps),
        THEIRS: gymnax_program("MemoryChain-bsuite", options.batch, options.steps),
        ADAPTED: random_policy_rollout(*from_gymnax(chain, chain_params, discount=1.0), options.batch, options.steps),
    }
    rows = measure(programs, options.repeats)
    speed = {row.what: row.seconds for row in rows}
    ratios = [theirs / ours for ours, theirs in zip(speed[OURS], speed[THEIRS], strict=True)]
    for row in rows:
        print(f"{row.what:<42}{row.steps_per_second / 1e6:8.2f} M steps/s   cold {row.compile_seconds:.1f} s")
    print(f"{OURS} / {THEIRS}: {statistics.median(ratios):.2f} (median of {len(ratios)} alternating pairs)")
    if options.out:
        measured = {
            "rows": [asdict(row) for row in rows],
            "ratio": statistics.median(ratios),
            "command": " ".join(["python", *sys.argv]),
            "versions": {**provenance.versions(), "gymnax": importlib.metadata.version("gymnax")},
            "commit": provenance.commit(),
        }
        write_whole(options.out, (json.dumps(measured, indent=1) + "\n").encode())


if __name__ == "__main__":
    main()
