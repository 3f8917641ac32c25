"""What can be earned in popjaxrl's card games, whoever plays.

    git clone https://github.com/luchris429/popjaxrl
    python benchmarks/peers/popjaxrl_tasks.py --path popjaxrl --out benchmarks/results/peers/popjaxrl_tasks.json

Actions change nothing that is shown in these games, so the rewards of all actions at every step of random episodes say
what policies earn. `seeing`: the best answer at each step for everything that has been shown until then, found on half
of the episodes and judged on the others. Where histories differ from episode to episode that says nothing and is left
out. `knowing`: the best action at each step with everything known, the deck included, which no policy beats.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from seqrl_jax.results.provenance import write_measurement
from seqrl_jax.tasks.environments import environment
from seqrl_jax.tasks.ready import HISTORY

GAMES = {
    "popgym_autoencode.AutoencodeEasy": "autoencode_cards",
    "popgym_count_recall.CountRecallEasy": "count_recall_cards",
    "popgym_repeat_first.RepeatFirstEasy": "repeat_first_cards",
    "popgym_repeat_previous.RepeatPreviousEasy": "repeat_previous_cards",
}
STEPS, EPISODES = 110, 20_000
FEW = 100
"""Histories that are kept, at most."""


def rewards(env: Any) -> tuple[np.ndarray, np.ndarray]:
    """[E, T, A], what each action pays at each step until the episode ends, and [E, T, O], what is shown before it."""
    params = env.default_params
    actions = jnp.arange(env.action_space(params).n)

    def episode(key: jax.Array) -> Any:
        def step(carry: Any, key: jax.Array) -> Any:
            obs, state, alive = carry
            paid = jax.vmap(lambda action: env.step_env(key, state, action, params)[2])(actions)
            after, state, _, done, _ = env.step_env(key, state, actions[0], params)
            return (after, state, alive & ~done), (jnp.where(alive, paid, 0.0), jnp.where(alive, obs, 0.0))

        reset_key, run_key = jax.random.split(key)
        return jax.lax.scan(step, (*env.reset_env(reset_key, params), True), jax.random.split(run_key, STEPS))[1]

    paid, shown = jax.jit(jax.vmap(episode))(jax.random.split(jax.random.key(0), EPISODES))
    return np.asarray(paid, np.float64), np.asarray(shown)


def seeing(paid: np.ndarray, shown: np.ndarray) -> float | None:
    """What the best policy of the whole history earns; None where there are too many histories to say."""
    total, half = 0.0, len(paid) // 2
    for t in range(paid.shape[1]):
        history = np.unique(shown[:, : t + 1].reshape(len(paid), -1), axis=0, return_inverse=True)[1].ravel()
        if history.max() >= FEW:
            return None
        learned = np.zeros((history.max() + 1, paid.shape[2]))
        np.add.at(learned, history[:half], paid[:half, t])
        best = learned.argmax(1)[history[half:]]
        total += float(np.take_along_axis(paid[half:, t], best[:, None], 1).mean())
    return total


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--path", type=Path, required=True, help="a checkout")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    sys.path.insert(0, str(options.path))
    jax.config.update("jax_numpy_dtype_promotion", "standard")
    rows = []
    for name, ours in GAMES.items():
        module, kind = name.split(".")
        paid, shown = rewards(getattr(importlib.import_module(f"envs.environments.{module}"), kind)())
        knowing = float(paid.max(2).sum(1).mean())
        row = {"game": name, "seeing": seeing(paid, shown), "knowing": knowing, "ours": ours}
        rows.append({**row, "certified": environment(ours).certified[HISTORY].lower})
        print(rows[-1], flush=True)
    if options.out:
        write_measurement(options.out, {"rows": rows, "episodes": EPISODES})


if __name__ == "__main__":
    main()
