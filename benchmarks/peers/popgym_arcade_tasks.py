"""What can be earned in popgym-arcade's two card games, whoever plays.

    python benchmarks/peers/environment.py popgym_arcade benchmarks/peers/popgym_arcade_tasks.py --episodes 200

A player moves a marker, one place a step, and confirms. `seeing`: one who recalls what its pictures have shown moves
the marker to the right answer and confirms it. `knowing`: the most right answers that the steps of an episode have time
for, with all cards known. In AutoEncode that is each card and the last one once more, for the step after the last card
pays too. In CountRecall it is found by induction over the cards, since a step that confirms a wrong answer costs
nothing but itself. One line of JSON. Its pictures are not drawn here, which changes nothing else.
"""

from __future__ import annotations

import argparse
import json
from importlib.metadata import version
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from popgym_arcade.environments import (
    AutoEncodeEasy,
    AutoEncodeHard,
    AutoEncodeMedium,
    CountRecallEasy,
    CountRecallHard,
    CountRecallMedium,
)

UP, DOWN, LEFT, RIGHT, CONFIRM = range(5)


def recall(env: Any, state: Any) -> jax.Array:
    """AutoEncode: from the last card on, the way to the suit that is due; until then, nothing."""
    cards = state.cards.size
    due = state.cards[cards - 1 - jnp.minimum(state.count, cards - 1)]
    away = (due - state.default_action) % env.num_suits
    move = jnp.where(away == 0, CONFIRM, jnp.where(away < 3, LEFT, RIGHT))
    return jnp.where(state.timestep < cards - 1, UP, move)


def count(env: Any, state: Any) -> jax.Array:
    """CountRecall: the way to how often the kind that is asked for was shown."""
    away = state.running_count[state.query_cards[state.timestep]] - state.default_action
    return jnp.where(away == 0, CONFIRM, jnp.where(away > 0, UP, DOWN))


def most(env: Any, state: Any) -> float:
    """The most that CountRecall has time for: of each number of moves that were made and each place of the marker,
    the most right answers until now."""
    values, queries = np.asarray(state.value_cards), np.asarray(state.query_cards)
    places = np.arange(np.bincount(values).max() + 1)
    best = np.full((env.max_steps_in_episode, len(places)), -np.inf)
    best[0, 0] = 0
    counts = np.zeros(env.num_types, int)
    for dealt, (value, query) in enumerate(zip(values, queries, strict=True), start=1):
        right = counts[query]
        # Each card until this one takes a step to confirm something; those behind it need none.
        moves = env.max_steps_in_episode - dealt + 1
        arrived = np.full(moves, -np.inf)
        for place in places:
            way = abs(int(right) - int(place))
            arrived[way:] = np.maximum(arrived[way:], best[: moves - way, place] + 1)
        best[:moves, right] = np.maximum(best[:moves, right], arrived)
        counts[value] += 1
    return float(best.max()) * env.reward_scale


GAMES = {
    AutoEncodeEasy: (recall, None),
    AutoEncodeMedium: (recall, None),
    AutoEncodeHard: (recall, None),
    CountRecallEasy: (count, most),
    CountRecallMedium: (count, most),
    CountRecallHard: (count, most),
}


def played(env: Any, policy: Any, episodes: int) -> tuple[np.ndarray, Any]:
    """[E], what a policy earns, and the states that episodes began in."""
    steps, params = env.max_steps_in_episode + 1, env.default_params

    def episode(key: jax.Array) -> Any:
        start = env.reset_env(key, params)[1]

        def step(carry: Any, _: None) -> Any:
            state, alive = carry
            _, state, reward, done, _ = env.step_env(key, state, policy(env, state), params)
            return (state, alive & ~done), jnp.where(alive, reward, 0.0)

        return jax.lax.scan(step, (start, jnp.bool_(True)), None, steps)[1].sum(), start

    earned, starts = jax.jit(jax.vmap(episode))(jax.random.split(jax.random.key(0), episodes))
    return np.asarray(earned, np.float64), starts


def listed(states: Any) -> list[Any]:
    """Of a batch of states each."""
    leaves, structure = jax.tree.flatten(states)
    return [jax.tree.unflatten(structure, each) for each in zip(*map(np.asarray, leaves), strict=True)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--episodes", type=int, default=200)
    options = parser.parse_args()
    rows = []
    for kind, (policy, bound) in GAMES.items():
        kind.setup_render_templates = lambda self: None
        kind.get_obs = lambda self, state: jnp.zeros(())
        env = kind(partial_obs=True)
        earned, starts = played(env, policy, options.episodes)
        cards = env.decksize * env.num_decks
        knowing = (cards + 1) / cards if bound is None else np.mean([bound(env, start) for start in listed(starts)])
        rows.append({"game": kind.__name__, "seeing": float(earned.mean()), "knowing": float(knowing)})
    packages = {name: version(name) for name in ("popgym-arcade", "stable-gymnax", "jax")}
    print(json.dumps({"rows": rows, "episodes": options.episodes, "peer_versions": packages}))


if __name__ == "__main__":
    main()
