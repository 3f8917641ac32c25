"""What can be earned in popjaxrl's games, and in those of its fork popgymnax, whoever plays.

    git clone https://github.com/luchris429/popjaxrl
    python benchmarks/peers/popjaxrl_tasks.py --path popjaxrl --out benchmarks/results/peers/popjaxrl_tasks.json
    git clone https://github.com/noahfarr/popgymnax
    python benchmarks/peers/popjaxrl_tasks.py --path popgymnax --out benchmarks/results/peers/popgymnax_tasks.json

Actions change nothing that is shown in the card games, so the rewards of all actions at every step of random episodes
say what policies earn. `seeing`: the best answer at each step for everything that has been shown until then, found on
half of the episodes and judged on the others. Where histories differ from episode to episode that says nothing, and is
left out. `recalling`: the best of one that answers, at each step, always the same, or what was shown at some step
before, or how often the kind that is asked for was shown: it sees no more than all players, who earn as much at least.
`knowing`: the best action at each step with everything known, the deck included, which no policy beats. On boards it
is what the next step pays most: no cell, ship or pair that pays is lost by another's being taken first.
"""

from __future__ import annotations

import argparse
import importlib
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from seqrl_jax.results.provenance import write_measurement
from seqrl_jax.tasks.environments import environment
from seqrl_jax.tasks.ready import HISTORY

PACKAGES = {"popjaxrl": "envs.environments", "popgymnax": "popgymnax.environments"}
CARDS = {
    "popgym_autoencode.AutoencodeEasy": "autoencode_cards",
    "popgym_count_recall.CountRecallEasy": "count_recall_cards",
    "popgym_repeat_first.RepeatFirstEasy": "repeat_first_cards",
    "popgym_repeat_previous.RepeatPreviousEasy": "repeat_previous_cards",
}
BOARDS = {
    "popgym_battleship.BattleshipEasy": "battleship",
    "popgym_concentration.ConcentrationEasy": "concentration",
    "popgym_minesweeper.MineSweeperEasy": "minesweeper",
}
STEPS, BOARD_EPISODES = 110, 200
FEW = 100
"""Histories that are kept, at most."""


def rewards(env: Any, episodes: int) -> tuple[np.ndarray, np.ndarray]:
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

    paid, shown = jax.jit(jax.vmap(episode))(jax.random.split(jax.random.key(0), episodes))
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


def recalling(paid: np.ndarray, shown: np.ndarray) -> float:
    """What is earned by the best fixed rule at each step: one action, a card of before, a count of the cards asked."""
    half, episodes = len(paid) // 2, np.arange(len(paid))
    answer = recalled if paid.shape[2] == shown.shape[2] else counted
    total = 0.0
    for t, rules in enumerate(answer(shown, paid.shape[2])):
        always = [paid[:, t, action] for action in range(paid.shape[2])]
        earned = [*always, *(paid[episodes, t, rule] for rule in rules)]
        total += float(max(earned, key=lambda each: each[:half].mean())[half:].mean())
    return total


def recalled(shown: np.ndarray, actions: int) -> Iterator[list[np.ndarray]]:
    """At each step, [E] for each step until then: the suit that was shown there. Where none was, the first one."""
    suits = shown.argmax(2)
    for t in range(shown.shape[1]):
        yield list(suits[:, : t + 1].T)


def counted(shown: np.ndarray, actions: int) -> Iterator[list[np.ndarray]]:
    """At each step, how often the kind that is asked for was shown, with what is shown now and without."""
    kinds = shown.shape[2] // 2
    now, asked = shown[:, :, :kinds], shown[:, :, kinds:].argmax(2)
    counts = now.cumsum(1)
    for t in range(shown.shape[1]):
        of = [np.take_along_axis(each[:, t], asked[:, t, None], 1)[:, 0] for each in (counts, counts - now)]
        yield [np.minimum(each.astype(int), actions - 1) for each in of]


def knowing_board(env: Any) -> float:
    """What is earned by the action that pays most at once, of those that are tried out on the true state."""
    params = env.default_params
    actions = jnp.arange(env.action_space(params).n)

    def episode(key: jax.Array) -> jax.Array:
        def step(carry: Any, key: jax.Array) -> Any:
            state, alive = carry
            best = jax.vmap(lambda action: env.step_env(key, state, action, params)[2])(actions).argmax()
            _, state, reward, done, _ = env.step_env(key, state, best, params)
            return (state, alive & ~done), jnp.where(alive, reward, 0.0)

        reset_key, run_key = jax.random.split(key)
        start = (env.reset_env(reset_key, params)[1], jnp.bool_(True))
        return jax.lax.scan(step, start, jax.random.split(run_key, STEPS))[1].sum()

    return float(jax.jit(jax.vmap(episode))(jax.random.split(jax.random.key(0), BOARD_EPISODES)).mean())


def commit(path: Path) -> str:
    """Which commit is checked out there."""
    return subprocess.run(
        ["git", "-C", path, "rev-parse", "HEAD"], capture_output=True, text=True, check=True
    ).stdout.strip()


def first_error(make: Callable[[], Any]) -> str | None:
    """What a game says that is stepped through gymnax's own `step`; None where it steps."""
    try:
        env = make()
        _, state = env.reset(jax.random.key(0), env.default_params)
        env.step(jax.random.key(0), state, 0, env.default_params)
    except Exception as error:  # whatever it is, it is recorded
        return f"{type(error).__name__}: {error}"
    return None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--path", type=Path, required=True, help="a checkout, in a folder of the package's name")
    parser.add_argument("--episodes", type=int, default=20_000, help="of card games")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    sys.path.insert(0, str(options.path))
    package = options.path.resolve().name
    jax.config.update("jax_numpy_dtype_promotion", "standard")
    rows: list[dict[str, Any]] = []
    for name, ours in (CARDS | BOARDS).items():
        module, kind = name.split(".")
        make = getattr(importlib.import_module(f"{PACKAGES[package]}.{module}"), kind)
        certified = environment(ours).certified[HISTORY]
        row: dict[str, Any] = {
            "game": name,
            "step": first_error(make),
            "ours": ours,
            "certified": [certified.lower, certified.upper],
        }
        if name in CARDS:
            paid, shown = rewards(make(), options.episodes)
            knowing = float(paid.max(2).sum(1).mean())
            row |= {"seeing": seeing(paid, shown), "recalling": float(recalling(paid, shown)), "knowing": knowing}
        else:
            row |= {"seeing": None, "recalling": None, "knowing": knowing_board(make())}
        rows.append(row)
        print(row, flush=True)
    if options.out:
        read = {"package": package, "read_at": commit(options.path), "gymnax": version("gymnax")}
        write_measurement(
            options.out, {**read, "rows": rows, "episodes": options.episodes, "board_episodes": BOARD_EPISODES}
        )


if __name__ == "__main__":
    main()
