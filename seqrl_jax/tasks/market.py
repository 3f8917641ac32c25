"""Trading in a market whose regime is hidden."""

from __future__ import annotations

from itertools import product

from seqrl_jax.settings import Horizon, Probability, Weight
from seqrl_jax.tasks.build import build, goes
from seqrl_jax.tasks.tabular import TabularPOMDP

RETURNS = {"down": -0.1, "even": 0.0, "up": 0.1}
LAW = {
    "bull": {"down": 0.2, "even": 0.3, "up": 0.5},
    "bear": {"down": 0.5, "even": 0.3, "up": 0.2},
}


def hidden_market(persistence: Probability = 0.95, fee: Weight = 0.02, horizon: Horizon = 30) -> TabularPOMDP:
    """A trader holds a long, flat or short position in a market that is a bull or a bear, and cannot see which.

    The regime stays with probability `persistence` at each step. The action sets the position for the next return,
    -.1, 0 or .1, with mean .03 for a bull and -.03 for a bear. Reward: position (1, 0, -1) times that return, minus
    `fee` times the change of position. The agent sees the last return and its position; it starts flat, after one
    return, in either regime with even chance.

    Picture::

        bull:  / / - / /      .95      bear:  \\ - \\ \\ /
                          <------->

    Seed idea: filtering. One return says little, a run of them much; a fee punishes the policy that trades on the
    last one.
    """
    position = {"short": -1, "flat": 0, "long": 1}

    def step(state, action):
        regime, _, held = state
        paid = -fee * abs(position[action] - position[held])
        other = "bear" if regime == "bull" else "bull"
        return {
            goes((after, move, action), position[action] * RETURNS[move] + paid): p * q
            for after, p in ((regime, persistence), (other, 1 - persistence))
            for move, q in LAW[after].items()
            if p * q > 0
        }

    return build(
        name="hidden_market",
        states=list(product(LAW, RETURNS, position)),
        actions=list(position),
        observations=[f"{move}_{held}" for move, held in product(RETURNS, position)],
        start={(regime, move, "flat"): 0.5 * q for regime, law in LAW.items() for move, q in law.items()},
        step=step,
        observe=lambda state: f"{state[1]}_{state[2]}",
        discount=1.0,
        horizon=horizon,
    )
