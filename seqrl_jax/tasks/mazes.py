"""Places to find one's way in: mazes that must be remembered, or recognised."""

from __future__ import annotations

from itertools import product
from typing import Annotated

from msgspec import Meta

from seqrl_jax.settings import Horizon, Length, Probability, Reward
from seqrl_jax.tasks.build import build, ends, goes, uniform
from seqrl_jax.tasks.tabular import TabularPOMDP

MOVES = {"north": (0, 1), "south": (0, -1), "east": (1, 0), "west": (-1, 0)}
PitGridSize = Annotated[int, Meta(ge=4, le=100)]
"""The pits reach to the fourth column."""
HallwayCells = Annotated[int, Meta(ge=6, le=1000)]
"""The openings are at cells 1, 3 and 4, and neither end has one."""


def tmaze(
    length: Length = 5, good: Reward = 4.0, bad: Reward = -0.1, carried: bool = False, horizon: Horizon | None = None
) -> TabularPOMDP:
    """A corridor that ends in a junction; a cue in the first cell says whether the prize is north or south of it.

    The junction lies `length` + 1 moves east of the first cell. At the junction north and south end the episode,
    paying `good` on the cued side and `bad` on the other. Everywhere else they do nothing. Corridor cells look alike.
    If `carried`, every action leads one cell east until the junction is reached: nothing but memory is left to learn.
    `horizon` is 3 (length + 1) + 2 steps unless given, three times the way.

    Picture::

                             N: good or bad
        [cue][ ][ ][ ][ ][ ][J]
                             S: bad or good

    Seed idea: remember one bit over a delay that can be set. Bakker (2002).
    Optimum: good discount^(length + 1); the best memoryless policy gets half (it walks only if the cue is good).
    Endless (`endless=true`): who enters an arm stands in the first cell again, before a new cue. With d = discount and
    way = length + 1, good d^way / (1 - d^(way + 1)). Memoryless: who always walks gets (good + bad) / 2 in place of
    good, and who walks only if the cue is good, good d^way / (2 - d^(way + 1)); the better of the two is best.
    """
    junction = length + 1

    def step(state, action):
        goal, cell = state
        if cell == junction and action in ("north", "south"):
            return ends(good if action == goal else bad)
        ahead = 1 if carried else MOVES[action][0]
        return goes((goal, min(max(cell + ahead, 0), junction)))

    def observe(state):
        goal, cell = state
        return f"cue_{goal}" if cell == 0 else "junction" if cell == junction else "corridor"

    return build(
        name="tmaze",
        states=list(product(("north", "south"), range(junction + 1))),
        actions=list(MOVES),
        observations=["cue_north", "cue_south", "corridor", "junction"],
        start=uniform([("north", 0), ("south", 0)]),
        step=step,
        observe=observe,
        discount=0.9,
        horizon=3 * junction + 2 if horizon is None else horizon,
    )


def heaven_hell(length: Length = 2, horizon: Horizon = 20) -> TabularPOMDP:
    """A T-junction with heaven at one end and hell at the other; a priest, the opposite way, tells which is which.

    From the origin the junction lies `length` moves north, each arm is `length` long, and the priest stands `length`
    moves south. Heaven pays 1, hell -1; both end the episode. The agent sees its cell, and from the priest the side.

    Picture::

        ? - + - + - + - ?       (length = 2)
                |
                +
                |
              origin
                |
                +
                |
              priest

    Seed idea: walk away from the goal to learn where it is, then remember. Geffner & Bonet (1998).
    Optimum (history): discount^(4 length - 1).
    """
    stem = [(0, y) for y in range(-length, length + 1)]
    arms = [(x, length) for x in range(-length + 1, length) if x]
    ends_at = {(-length, length): "left", (length, length): "right"}
    cells = stem + arms

    def step(state, action):
        heaven, (x, y) = state
        dx, dy = MOVES[action]
        after = (x + dx, y + dy)
        if after in ends_at:
            return ends(1.0 if ends_at[after] == heaven else -1.0)
        return goes((heaven, after if after in cells else (x, y)))

    def place(cell):
        x, y = cell
        if x:
            return f"{'left' if x < 0 else 'right'}_{abs(x)}"
        return "origin" if y == 0 else f"{'north' if y > 0 else 'south'}_{abs(y)}"

    def observe(state):
        heaven, cell = state
        return f"heaven_{heaven}" if cell == (0, -length) else place(cell)

    return build(
        name="heaven_hell",
        states=[(heaven, cell) for heaven in ("left", "right") for cell in cells],
        actions=list(MOVES),
        observations=[*(place(cell) for cell in cells if cell != (0, -length)), "heaven_left", "heaven_right"],
        start=uniform([("left", (0, 0)), ("right", (0, 0))]),
        step=step,
        observe=observe,
        discount=0.99,
        horizon=horizon,
    )


def flicker_grid(size: PitGridSize = 4, blank: Probability = 0.7, horizon: Horizon = 20) -> TabularPOMDP:
    """A grid with a goal and pits, seen through a screen that flickers: with probability `blank` it shows nothing.

    Each step costs .04; the goal in the north-east corner pays 1, a pit -1, and both end the episode. Moves are
    certain, walls stop them; the start is uniform over the other cells.

    Picture::

        .  .  .  G
        .  .  o  .        o: pit
        .  o  .  .
        .  .  .  o        north is up, (0, 0) below left

    Seed idea: a flicker makes an observed task partially observable without changing it; one clear frame and dead
    reckoning win it back. After Hausknecht & Stone (2015).
    """
    prizes = {(size - 1, size - 1): 1.0, (1, 1): -1.0, (2, 2): -1.0, (3, 0): -1.0}
    cells = [cell for cell in product(range(size), repeat=2) if cell not in prizes]

    def step(cell, action):
        x, y = (min(max(at + by, 0), size - 1) for at, by in zip(cell, MOVES[action], strict=True))
        return ends(prizes[x, y] - 0.04) if (x, y) in prizes else goes((x, y), -0.04)

    def place(cell):
        return f"cell_{cell[0]}_{cell[1]}"

    return build(
        name="flicker_grid",
        states=cells,
        actions=list(MOVES),
        observations=["blank", *(place(cell) for cell in cells)],
        start=uniform(cells),
        step=step,
        observe=lambda cell: {"blank": blank, place(cell): 1 - blank},
        discount=1.0,
        horizon=horizon,
        blank="blank",
    )


def mini_hallway(cells: HallwayCells = 7, horizon: Horizon = 20) -> TabularPOMDP:
    """A hallway in which the agent, placed anywhere in any direction, must find out that it stands at the goal.

    The hallway runs from west to east with walls all round and openings to the north at cells 1, 3 and 4. The agent
    sees which of the four sides relative to its heading are walls. Moving forward, turning left, right or around
    costs .05; `declare` ends the episode and pays 1 in the last cell, -1 elsewhere. Nothing leads through an opening.

    Picture::

        #   #   #     #   #
        #_0_ 1 _2_ 3 4 _5_ G#       headings: N E S W

    Seed idea: localisation. The goal looks like the other end; the way there, read as a sequence, tells them apart.
    After Littman, Cassandra & Kaelbling (1995).
    """
    headings = ((0, 1), (1, 0), (0, -1), (-1, 0))
    openings, goal = (1, 3, 4), cells - 1
    turns = {"right": 1, "around": 2, "left": 3}

    def is_wall(cell, side):
        dx, dy = headings[side % 4]
        if dy:
            return dy < 0 or cell not in openings
        return not 0 <= cell + dx < cells

    def view(state):
        cell, heading = state
        sides = ("front", "right", "back", "left")
        walls = [side for turn, side in enumerate(sides) if is_wall(cell, heading + turn)]
        return "walls_" + "_".join(walls)

    def step(state, action):
        cell, heading = state
        if action == "declare":
            return ends(1.0 if cell == goal else -1.0)
        if action in turns:
            return goes((cell, (heading + turns[action]) % 4), -0.05)
        dx, _ = headings[heading]
        return goes((min(max(cell + dx, 0), cells - 1), heading), -0.05)

    states = list(product(range(cells), range(4)))
    return build(
        name="mini_hallway",
        states=states,
        actions=["forward", "left", "right", "around", "declare"],
        observations=sorted({view(state) for state in states}),
        start=uniform(states),
        step=step,
        observe=view,
        discount=1.0,
        horizon=horizon,
    )
