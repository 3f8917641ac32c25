"""Corridors of three cells in which different places look the same."""

from __future__ import annotations

from seqrl_jax.settings import Horizon
from seqrl_jax.tasks.build import build, ends, goes, uniform
from seqrl_jax.tasks.tabular import TabularPOMDP


def aliased_line(horizon: Horizon = 20) -> TabularPOMDP:
    """Three cells A, B, C in a row that look the same; the episode starts in A or C, and reaching B pays 1 and ends.

    The actions are left and right; walking against a wall leaves the agent where it is.

    Picture::

        [A] [B] [C]      seen as  [?] [?] [?]

    Seed idea: under aliasing a random policy beats every deterministic one, and memory beats both: what failed once
    need not be tried twice.
    Optimum (history): .95; deterministic .5.
    """
    return build(
        name="aliased_line",
        states=["A", "C"],
        actions=["left", "right"],
        observations=["grey"],
        start=uniform(["A", "C"]),
        step=lambda cell, action: ends(1.0) if (cell, action) in TOWARDS_B else goes(cell),
        observe=lambda _: "grey",
        discount=0.9,
        horizon=horizon,
    )


def grey_line(horizon: Horizon = 20) -> TabularPOMDP:
    """Three cells A, B, C: A and C are grey alike, B looks different; every step costs 1 and `stop` in B ends.

    Start in A or C. A policy of the observation knows what to do in B, and must guess in the grey cells.

    Picture::

        [grey] [ B ] [grey]

    Seed idea: one aliased pair is enough to make the best memoryless policy stochastic: half left, half right.
    Optimum (history): -2.5; deterministic -11 at horizon 20.
    """

    def step(cell, action):
        if cell == "B":
            after = {"left": "A", "right": "C"}.get(action)
            return goes(after, -1.0) if after else ends(-1.0)
        return goes("B" if (cell, action) in TOWARDS_B else cell, -1.0)

    return build(
        name="grey_line",
        states=["A", "B", "C"],
        actions=["left", "right", "stop"],
        observations=["grey", "B"],
        start=uniform(["A", "C"]),
        step=step,
        observe=lambda cell: "B" if cell == "B" else "grey",
        discount=1.0,
        horizon=horizon,
    )


def switched_corridor(horizon: Horizon = 20) -> TabularPOMDP:
    """Three cells and a goal to the right; in the second cell left and right are switched; all cells look the same.

    Every step costs 1; reaching the goal ends the episode. Sutton & Barto (2018), example 13.1.

    Picture::

        [S] [<>] [ ] [G]

    Seed idea: function approximation is partial observability. The best policy that sees one feature goes right with
    probability about .59.
    Optimum (history): -3: the start is known, so the cell can be counted.
    """
    moves = {
        (0, "left"): 0,
        (0, "right"): 1,
        (1, "left"): 2,
        (1, "right"): 0,
        (2, "left"): 1,
        (2, "right"): 3,
    }

    def step(cell, action):
        after = moves[int(cell[-1]), action]
        return ends(-1.0) if after == 3 else goes(f"cell_{after}", -1.0)

    return build(
        name="switched_corridor",
        states=["cell_0", "cell_1", "cell_2"],
        actions=["left", "right"],
        observations=["corridor"],
        start={"cell_0": 1.0},
        step=step,
        observe=lambda _: "corridor",
        discount=1.0,
        horizon=horizon,
    )


TOWARDS_B = {("A", "right"), ("C", "left")}
