"""Doors that are locked or open for the whole episode."""

from __future__ import annotations

from itertools import product

from seqrl_jax.settings import Count, Horizon, Length, Probability, Reward, Weight
from seqrl_jax.tasks.build import build, chance, ends, goes, uniform
from seqrl_jax.tasks.tabular import TabularPOMDP


def locked_doors(doors: Count = 3, cost: Weight = 0.1, horizon: Horizon = 8) -> TabularPOMDP:
    """One of `doors` doors is unlocked; the agent cannot tell which, and every observation is `closed`.

    Trying a door costs `cost`; the unlocked one pays 1 and ends the episode, a locked one stays locked. The best plan
    tries each door once; a policy of the observation can only draw doors at random, again and again.

    Picture::

        [#] [#] [ ]     one door opens, all look like this:  [?] [?] [?]

    Seed idea: retrying a locked door is futile, yet a model p(o' | o, a) predicts the same chance at every retry.
    Optimum (history): 1 - cost (doors + 1) / 2 when horizon >= doors.
    """
    names = [f"door_{i}" for i in range(doors)]
    return build(
        name="locked_doors",
        states=names,
        actions=[f"try_{i}" for i in range(doors)],
        observations=["closed"],
        start=uniform(names),
        step=lambda unlocked, action: (
            ends(1 - cost) if unlocked == action.replace("try", "door") else goes(unlocked, -cost)
        ),
        observe=lambda _: "closed",
        discount=1.0,
        horizon=horizon,
    )


def two_doors(
    open_probability: Probability = 0.5, cost: Weight = 0.1, leave: Reward = 0.2, horizon: Horizon = 6
) -> TabularPOMDP:
    """Each of two doors is open with `open_probability`, or locked, for the whole episode; or the agent may leave.

    Trying a door costs `cost`; an open one pays 1 and ends the episode. `leave` pays `leave` and ends. The
    observation is always `closed`. The doors are independent, so both may be locked, and then leaving is right.

    Picture::

        [?]  you  [?]          leave: .2

    Seed idea: p(o' | o, a) is wrong. Averaged over episodes a door opens with some fixed chance; within an episode
    the first failure settles it.
    Optimum (history): try one, try the other, leave (at the defaults .65).
    """
    states = list(product(("open", "locked"), repeat=2))
    share = {"open": open_probability, "locked": 1 - open_probability}

    def step(state, action):
        if action == "leave":
            return ends(leave)
        return ends(1 - cost) if state[int(action[-1])] == "open" else goes(state, -cost)

    return build(
        name="two_doors",
        states=states,
        actions=["try_0", "try_1", "leave"],
        observations=["closed"],
        start={(first, second): share[first] * share[second] for first, second in states},
        step=step,
        observe=lambda _: "closed",
        discount=1.0,
        horizon=horizon,
    )


def peek_maze(arm: Length = 2, cost: Weight = 0.05, accuracy: Probability = 1.0, horizon: Horizon = 10) -> TabularPOMDP:
    """A corridor with the goal at its left or right end; a cell north of the centre shows which.

    Every move costs `cost`; the end with the goal pays 1, the other -1, and both end the episode. The agent sees its
    cell, and in the peek cell also the side (right with probability `accuracy`, drawn anew at each step there).

    Picture::

                 peek
                  |
        +-1 -- -- C -- -- +-1      (arm = 2)

    Seed idea: information gathering. Peeking pays nothing by itself, and what was seen must be remembered back at
    the centre.
    Optimum (history, accuracy 1): 1 - cost (arm + 2).
    """
    cells = ["peek", *range(-arm + 1, arm)]
    east, west, north, south = "east", "west", "north", "south"

    def step(state, action):
        goal, cell = state
        if cell == "peek":
            return goes((goal, 0 if action == south else cell), -cost)
        if action == north and cell == 0:
            return goes((goal, "peek"), -cost)
        cell += {east: 1, west: -1}.get(action, 0)
        if abs(cell) == arm:
            return ends((1.0 if (cell > 0) == (goal == "right") else -1.0) - cost)
        return goes((goal, cell), -cost)

    def observe(state):
        goal, cell = state
        if cell != "peek":
            return place(cell)
        return chance(accuracy, f"goal_{goal}", "goal_left" if goal == "right" else "goal_right")

    def place(cell):
        return "centre" if cell == 0 else f"{'right' if cell > 0 else 'left'}_{abs(cell)}"

    return build(
        name="peek_maze",
        states=[(goal, cell) for goal in ("left", "right") for cell in cells],
        actions=[north, south, east, west],
        observations=[*(place(cell) for cell in cells[1:]), "goal_left", "goal_right"],
        start=uniform([("left", 0), ("right", 0)]),
        step=step,
        observe=observe,
        discount=1.0,
        horizon=horizon,
    )
