"""How fast pobax's T-maze and RockSample step, in a loop over `vmap` of their own `step`, which resets by itself.

    python benchmarks/peers/environment.py pobax benchmarks/peers/pobax_steps.py --batch 2048 --steps 1000

The loop draws a key of each environment and a random action at every step, as this suite's does
(`seqrl_jax/throughput/env.py`). One line of JSON: seconds of each pass, by the name that the task has here.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import sys
import time
import types
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

ROOT = Path(importlib.util.find_spec("pobax").origin).parents[1]
# pobax imports a module of its repository that its package lacks, for the folder of its files.
sys.modules["definitions"] = types.SimpleNamespace(ROOT_DIR=str(ROOT))

from pobax.envs.jax.rocksample import RockSample  # noqa: E402
from pobax.envs.jax.tmaze import TMaze  # noqa: E402

ROCKS = ROOT / "pobax" / "envs" / "configs" / "rocksample_7_8_config.json"
TASKS = {
    "tmaze:length=10": lambda: TMaze(10),
    "rock_sample:size=7,rocks=8,horizon=1000": lambda: RockSample(jax.random.key(0), ROCKS),
}


def program(env: Any, batch: int, steps: int) -> Callable[[jax.Array], jax.Array]:
    """Compiled: so many steps of so many environments, and a number that depends on all that they show."""
    params, actions = env.default_params, env.action_space(env.default_params).n

    def run(key: jax.Array) -> jax.Array:
        reset_key, step_key = jax.random.split(key)
        obs, state = jax.vmap(env.reset, in_axes=(0, None))(jax.random.split(reset_key, batch), params)

        def step(at: Any, key: jax.Array) -> tuple[Any, None]:
            state, total = at
            action_key, env_key = jax.random.split(key)
            action = (jax.random.uniform(action_key, (batch,)) * actions).astype(jnp.int32)
            keys = jax.random.split(env_key, batch)
            obs, state, reward, _, _ = jax.vmap(env.step, in_axes=(0, 0, 0, None))(keys, state, action, params)
            return (state, total + obs.sum() + reward.sum()), None

        return jax.lax.scan(step, (state, obs.sum()), jax.random.split(step_key, steps))[0][1]

    return jax.jit(run)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=2048)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    passes: dict[str, list[float]] = {}
    for name, build in TASKS.items():
        run = program(build(), options.batch, options.steps)
        run(jax.random.key(0)).block_until_ready()
        for repeat in range(options.repeats):
            began = time.perf_counter()
            run(jax.random.key(repeat)).block_until_ready()
            passes.setdefault(name, []).append(time.perf_counter() - began)
    steps = options.batch * options.steps
    print(json.dumps({"steps": steps, "seconds": passes, "versions": {"pobax": version("pobax")}}))


if __name__ == "__main__":
    main()
