"""The tiger behind one of two doors: Cassandra, Kaelbling & Littman (1994)."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from seqrl_jax.settings import Horizon, Probability
from seqrl_jax.tasks.build import Outcome, build, chance, ends, goes, uniform
from seqrl_jax.tasks.tabular import TabularPOMDP

SIDES = ("left", "right")


def tiger(accuracy: Probability = 0.85, horizon: Horizon = 20) -> TabularPOMDP:
    """A tiger is behind the left or the right door; listening costs 1 and is right with probability `accuracy`.

    Opening the tiger's door pays -100, the other one 10, and either ends the episode. The first observation,
    `none`, tells nothing.

    Picture::

        [L]   you   [R]        ...growl?

    Seed idea: evidence adds up. The same observation calls for another action once it has been heard twice.
    Optimum (history): 3.77019 at an infinite horizon.
    """
    return _tiger("tiger", accuracy, horizon, lambda reward: ends(reward))


def tiger_repeated(accuracy: Probability = 0.85, horizon: Horizon = 20) -> TabularPOMDP:
    """As `tiger`, but opening a door does not end the episode: the tiger is placed anew and the game goes on.

    After a door was opened the observation is `none`.

    Picture::

        [L]   you   [R]   ->   [?]   you   [?]   ->  ...

    Seed idea: a memory must also forget. What was heard before the door opened says nothing about the new tiger.
    Optimum (history): 19.3714 at an infinite horizon.
    """
    return _tiger("tiger_repeated", accuracy, horizon, lambda reward: {goes(side, reward): 0.5 for side in SIDES})


def _tiger(
    name: str, accuracy: float, horizon: int, opened: Callable[[float], Outcome | Mapping[Outcome, float]]
) -> TabularPOMDP:
    other = {"left": "right", "right": "left"}

    def step(side, action):
        if action == "listen":
            return goes(side, -1.0)
        return opened(-100.0 if action == f"open_{side}" else 10.0)

    def observe_after(action, side):
        return chance(accuracy, f"hear_{side}", f"hear_{other[side]}") if action == "listen" else "none"

    return build(
        name=name,
        states=SIDES,
        actions=["listen", "open_left", "open_right"],
        observations=["none", "hear_left", "hear_right"],
        start=uniform(SIDES),
        step=step,
        observe=lambda _: "none",
        observe_after=observe_after,
        discount=0.95,
        horizon=horizon,
    )
