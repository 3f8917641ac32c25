"""Rock sampling: Smith & Simmons (2004)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from math import hypot
from typing import Annotated

from msgspec import Meta

from seqrl_jax.settings import Count, Horizon
from seqrl_jax.tasks.build import build, chance, ends, goes, uniform
from seqrl_jax.tasks.mazes import MOVES
from seqrl_jax.tasks.tabular import TabularPOMDP, TaskError, refuse_too_large

GridSize = Annotated[int, Meta(ge=2, le=100)]


def rock_sample(size: GridSize = 2, rocks: Count = 1, horizon: Horizon = 20) -> TabularPOMDP:
    """A rover on a grid samples good rocks and leaves by the east side; it can check a rock from afar, noisily.

    Sampling a good rock pays 10 and spoils it, a bad one pays -10; anywhere else it does nothing. Leaving pays 10 and
    ends. `check_i` reads rock i right with probability (1 + 2^(-d / 20)) / 2, d the distance to it. The rover sees its
    cell and the reading. Rocks are good or bad with even chance and stand evenly spread in column order; the rover
    starts in the middle of the west side.

    Picture::

        . .              r: the rock
        R r  ->  exit    R: the rover        (size = 2, rocks = 1)

    Seed idea: information can be bought at a price in time, and is worth more from near.
    """
    if rocks >= size * size:
        raise TaskError(f"rock_sample: rocks is {rocks} and size is {size}: so many do not fit on the grid")
    refuse_too_large("rock_sample", size**2 * 2**rocks, 5 + rocks, 3 * size**2)
    order = [(i + 1) * size * size // (rocks + 1) for i in range(rocks)]
    stands = [(index // size, index % size) for index in order]
    return rocks_at(stands, size, (0, size // 2), True, horizon)


def rocks_at(
    stands: Sequence[tuple[int, int]], size: int, start_cell: tuple[int, int], sees_cell: bool, horizon: int
) -> TabularPOMDP:
    """`rock_sample` with its rocks on these cells (x, y), and a rover that starts here and sees its cell or only the
    reading: `none`, `good` or `bad`."""
    rocks, half_distance = len(stands), 20.0
    cells = list(product(range(size), repeat=2))

    def step(state, action):
        (x, y), good = state
        if action == "sample":
            if (x, y) not in stands:
                return goes(state)
            rock = stands.index((x, y))
            spoiled = tuple(quality and i != rock for i, quality in enumerate(good))
            return goes(((x, y), spoiled), 10.0 if good[rock] else -10.0)
        if action in MOVES:
            x, y = x + MOVES[action][0], y + MOVES[action][1]
            if x == size:
                return ends(10.0)
            return goes(((max(x, 0), min(max(y, 0), size - 1)), good))
        return goes(state)

    def seen(cell, reading):
        return f"at_{cell[0]}_{cell[1]}_{reading}" if sees_cell else reading

    def observe_after(action, state):
        cell, good = state
        if not action.startswith("check"):
            return seen(cell, "none")
        rock = int(action.split("_")[1])
        distance = hypot(cell[0] - stands[rock][0], cell[1] - stands[rock][1])
        truth, lie = ("good", "bad") if good[rock] else ("bad", "good")
        return chance((1 + 2 ** (-distance / half_distance)) / 2, seen(cell, truth), seen(cell, lie))

    return build(
        name="rock_sample",
        states=list(product(cells, product((True, False), repeat=rocks))),
        actions=[*MOVES, "sample", *(f"check_{i}" for i in range(rocks))],
        observations=list(dict.fromkeys(seen(cell, reading) for cell in cells for reading in ("none", "good", "bad"))),
        start=uniform((start_cell, good) for good in product((True, False), repeat=rocks)),
        step=step,
        observe=lambda state: seen(state[0], "none"),
        observe_after=observe_after,
        discount=0.95,
        horizon=horizon,
    )
