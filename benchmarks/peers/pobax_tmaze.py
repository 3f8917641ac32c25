"""pobax's T-maze as a table, made by its own `step_env` from every state.

    python benchmarks/peers/environment.py pobax benchmarks/peers/pobax_tmaze.py --length 5

One line of JSON: for each goal and cell what is shown, and for each action the cell that follows, what is paid and
whether the episode ends.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import json
import sys
import types
from importlib.metadata import version
from pathlib import Path

import jax
import jax.numpy as jnp

try:
    importlib.import_module("pobax.envs.jax.tmaze")
except ModuleNotFoundError as error:
    FIRST_ERROR = f"{type(error).__name__}: {error}"
    # It imports a module of its repository that its package lacks, for the folder of its files.
    root = Path(importlib.util.find_spec("pobax").origin).parents[1]
    sys.modules["definitions"] = types.SimpleNamespace(ROOT_DIR=str(root))
else:
    FIRST_ERROR = None

from pobax.envs.jax.tmaze import TMaze, TMazeState


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--length", type=int, default=5)
    options = parser.parse_args()
    env, rows = TMaze(options.length), []
    params = env.default_params
    for goal in (0, 1):
        for cell in range(options.length + 2):
            state = TMazeState(grid_idx=jnp.array(cell), goal_dir=jnp.array(goal))
            steps = []
            for action in range(4):
                _, after, reward, done, _ = env.step_env(jax.random.key(0), state, action, params)
                steps.append([int(after.grid_idx), float(reward), bool(done)])
            rows.append({"goal": goal, "cell": cell, "shown": env.get_obs(state).tolist(), "steps": steps})
    versions = {name: version(name) for name in ("pobax", "gymnax", "jax")}
    print(json.dumps({"rows": rows, "first_error": FIRST_ERROR, "peer_versions": versions}))


if __name__ == "__main__":
    main()
