"""How fast POPGym's card games step: its own numpy environments in a loop, as its documentation runs them.

    python benchmarks/peers/environment.py popgym benchmarks/peers/popgym_steps.py --steps 100000

Actions are drawn beforehand, so that the time is the environment's alone. One line of JSON: seconds of each pass by
environment, episodes included that begin again.
"""

from __future__ import annotations

import argparse
import json
import time
from importlib.metadata import version

import gymnasium
import numpy as np
from popgym import envs

GAMES = {
    "repeat_first_cards": envs.RepeatFirstEasy,
    "repeat_previous_cards": envs.RepeatPreviousEasy,
    "autoencode_cards": envs.AutoencodeEasy,
    "count_recall_cards": envs.CountRecallEasy,
}


def seconds(env: gymnasium.Env, actions: np.ndarray) -> float:
    """Of so many steps."""
    env.reset(seed=0)
    began = time.perf_counter()
    for action in actions:
        _, _, terminated, truncated, _ = env.step(action)
        if terminated or truncated:
            env.reset()
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=100_000)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    made = {name: build() for name, build in GAMES.items()}
    drawn = np.random.default_rng(0)
    actions = {name: drawn.integers(env.action_space.n, size=options.steps) for name, env in made.items()}
    passes: dict[str, list[float]] = {name: [] for name in made}
    for _ in range(options.repeats):
        for name, env in made.items():
            passes[name].append(seconds(env, actions[name]))
    print(json.dumps({"steps": options.steps, "seconds": passes, "versions": {"popgym": version("popgym")}}))


if __name__ == "__main__":
    main()
