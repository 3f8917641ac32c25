"""Changing lane with a blind spot."""

from __future__ import annotations

from seqrl_jax.settings import Horizon, Probability, Weight
from seqrl_jax.tasks.build import build, chance, ends, goes, uniform
from seqrl_jax.tasks.tabular import TabularPOMDP


def blind_spot(glance_cost: Weight = 0.05, traffic: Probability = 0.3, horizon: Horizon = 15) -> TabularPOMDP:
    """A driver wants to change lane; a car comes and goes in the blind spot, unseen unless the driver glances.

    At each step the car appears or leaves with probability `traffic`; at the start it is there with probability
    one half. `wait` costs .02 and shows nothing, `glance` costs `glance_cost` and shows whether the spot is taken now.
    `change_lane` ends the episode: 1 if the spot is free, -3 (a crash) if not.

    Picture::

        --------------------
          you ->      ?           (? : the blind spot)
        --------------------

    Seed idea: information ages. What a glance showed is worth less with every step; look, then act at once.
    """

    def step(spot, action):
        if action == "change_lane":
            return ends(1.0 if spot == "free" else -3.0)
        paid = -glance_cost if action == "glance" else -0.02
        other = "free" if spot == "taken" else "taken"
        return {goes(place, paid): p for place, p in chance(traffic, other, spot).items()}

    return build(
        name="blind_spot",
        states=["free", "taken"],
        actions=["wait", "glance", "change_lane"],
        observations=["nothing", "see_free", "see_taken"],
        start=uniform(["free", "taken"]),
        step=step,
        observe=lambda _: "nothing",
        observe_after=lambda action, spot: f"see_{spot}" if action == "glance" else "nothing",
        discount=1.0,
        horizon=horizon,
    )
