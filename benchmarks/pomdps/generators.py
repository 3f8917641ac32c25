"""POMDPs of the literature that are too large to be copied from a book, as tasks and as `.POMDP` files.

    python benchmarks/pomdps/generators.py --out FOLDER [NAME ...]

They are made from what their papers say. Terminal states are absorbing and pay nothing; the discount is .95.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import product
from pathlib import Path

from seqrl_jax.tasks import TabularPOMDP, build, goes, uniform
from seqrl_jax.tasks.pomdp_file import write_pomdp
from seqrl_jax.tasks.rocks import rocks_at
from seqrl_jax.tasks.tables import SparseTable, every_action, table_of
from seqrl_jax.tasks.tabular import validated

HORIZON = 90
"""Later rewards count less than a hundredth: .95^90."""
LAYOUTS = {
    (4, 4): ((0, 3), (1, 2), (2, 1), (3, 0)),
    (5, 5): ((0, 4), (1, 0), (2, 2), (3, 4), (4, 1)),
    (5, 7): ((0, 4), (1, 0), (1, 2), (2, 2), (3, 1), (3, 4), (4, 1)),
    (7, 8): ((2, 0), (0, 1), (3, 1), (6, 3), (2, 4), (3, 4), (5, 5), (1, 6)),
}
"""Where rocks stand, by size and number. That of (7, 8) is the usual one; the papers give no others."""
HEADINGS = ((0, -1), (1, 0), (0, 1), (-1, 0))
TAG_CELLS = [*((x, y) for y in range(2) for x in range(10)), *((x, y) for y in range(2, 5) for x in range(5, 8))]
HALLWAY = ("#.....#", "#.#.#.#", "...G...", "#.#.#.#", "#.....#")
"""`.` is a cell, G the goal's."""


def rock_sample(size: int, rocks: int) -> TabularPOMDP:
    """Smith & Simmons (2004), Heuristic search value iteration for POMDPs: size^2 * 2^rocks + 1 states.

    The rover sees the reading only: `none`, `good` or `bad`; once more at the end, which shows `end`.
    """
    task = rocks_at(LAYOUTS[size, rocks], size, (0, size // 2), False, HORIZON)
    # What the end shows is never seen: another name for nothing.
    merged = tuple(matrix[:, :3] + _as_none(matrix) for matrix in task.lists.observation)
    first = task.lists.initial_observation
    return validated(
        replace(
            task,
            initial_observation=first[:, :3] + _as_none(first),
            observation=SparseTable(merged),
            observations=task.observations[:3],
            name=f"rock_sample_{size}_{rocks}",
            origin=("RockSample: Smith & Simmons (2004)", f"size {size}, rocks at {LAYOUTS[size, rocks]}"),
        )
    )


def tag() -> TabularPOMDP:
    """Pineau, Gordon & Thrun (2003), Point-based value iteration: 870 states, 5 actions, 30 observations.

    A robot chases an opponent through 29 cells, ten by two and a room of three by three above it. It sees its own cell,
    and the opponent only in the same one. The opponent steps away from where the robot was with probability .8 (.4 for
    either axis, shared by both ways where the robot is level), and stays where a wall is in its way. A step costs 1, a
    tag pays 10 in the same cell and costs 10 in any other. Both begin anywhere.
    """
    number = {cell: i for i, cell in enumerate(TAG_CELLS)}
    count = len(number)
    actions = ("north", "east", "south", "west", "tag")
    caught = count
    moves, pays, shows = {}, {}, {}
    state = lambda robot, opponent: robot * (count + 1) + opponent

    def stepped(cell, dx, dy):
        return number.get((cell[0] + dx, cell[1] + dy), number[cell])

    for robot, opponent in product(range(count), range(count + 1)):
        here = state(robot, opponent)
        shows[0, here, count if opponent in (robot, caught) else robot] = 1.0
        for a in range(len(actions)):
            tagging = a == len(actions) - 1
            if opponent == caught or (tagging and opponent == robot):
                moves[a, here, state(robot, caught)] = 1.0
                pays[a, here, state(robot, caught)] = 0.0 if opponent == caught else 10.0
                continue
            entered = robot if tagging else stepped(TAG_CELLS[robot], *HEADINGS[a])
            for there, likely in _flight(TAG_CELLS[robot], TAG_CELLS[opponent], stepped).items():
                moves[a, here, state(entered, there)] = likely
                pays[a, here, state(entered, there)] = -10.0 if tagging else -1.0
    size = count * (count + 1)
    law = table_of((1, size, count + 1), shows)[0]
    begun = [0.0 if opponent == caught else count**-2 for _, opponent in product(range(count), range(count + 1))]
    return validated(
        TabularPOMDP(
            initial=begun,
            initial_observation=law,
            transition=table_of((len(actions), size, size), moves),
            observation=every_action(law, len(actions)),
            reward=table_of((len(actions), size, size), pays),
            terminal=[opponent == caught for _, opponent in product(range(count), range(count + 1))],
            discount=0.95,
            horizon=HORIZON,
            name="tag",
            states=tuple(
                f"r{r}_{'caught' if o == caught else f'o{o}'}" for r, o in product(range(count), range(count + 1))
            ),
            actions=actions,
            observations=(*(f"at_{i}" for i in range(count)), "opponent"),
            origin=("TagAvoid: Pineau, Gordon & Thrun (2003)",),
        )
    )


def _flight(robot, opponent, stepped) -> dict[int, float]:
    """Where the opponent goes, by number of its cell."""
    law = {stepped(opponent, 0, 0): 0.2}
    for axis in range(2):
        apart = opponent[axis] - robot[axis]
        ways = [1 if apart > 0 else -1] if apart else [1, -1]
        for way in ways:
            there = stepped(opponent, *((way, 0) if axis == 0 else (0, way)))
            law[there] = law.get(there, 0.0) + 0.4 / len(ways)
    return law


def hallway(plan: tuple[str, ...] = HALLWAY) -> TabularPOMDP:
    """A robot with a heading in the cells of a plan, after Littman, Cassandra & Kaelbling (1995): 5 actions and 17
    observations, four states for each cell. The plan of 23 cells has the 92 states of their hallway2.

    It turns or goes forward with probability .8 and else stays. Each of the four walls around it is sensed by itself,
    one that is there with probability .9, one that is not with .05; the goal is seen for certain. Entering it pays 1,
    and from there the next step leads anywhere else.
    """
    rows = {(x, y): kind for y, row in enumerate(plan) for x, kind in enumerate(row) if kind != "#"}
    goal = next(cell for cell, kind in rows.items() if kind == "G")
    states = [(x, y, heading) for x, y in rows for heading in range(4)]
    elsewhere = uniform(s for s in states if s[:2] != goal)
    turns = {"stay": 0, "right": 1, "around": 2, "left": 3}

    def step(state, action):
        x, y, heading = state
        if (x, y) == goal:
            return {goes(after): p for after, p in elsewhere.items()}
        dx, dy = HEADINGS[heading]
        there = (x + dx, y + dy) if (x + dx, y + dy) in rows else (x, y)
        after = (*there, heading) if action == "forward" else (x, y, (heading + turns[action]) % 4)
        moved = goes(after, 1.0 if after[:2] == goal else 0.0)
        return moved if after == state else {moved: 0.8, goes(state): 0.2}

    def observe(state):
        x, y, heading = state
        if (x, y) == goal:
            return "goal"
        walls = [(x + dx, y + dy) not in rows for dx, dy in HEADINGS[heading:] + HEADINGS[:heading]]
        sensed = {}
        for bits in product((0, 1), repeat=4):
            likely = 1.0
            for wall, bit in zip(walls, bits, strict=True):
                on = 0.9 if wall else 0.05
                likely *= on if bit else 1 - on
            sensed["w" + "".join(map(str, bits))] = likely
        return sensed

    task = build(
        name=f"hallway_{len(rows)}",
        states=states,
        actions=["forward", *turns],
        observations=["w" + "".join(map(str, bits)) for bits in product((0, 1), repeat=4)] + ["goal"],
        start=elsewhere,
        step=step,
        observe=observe,
        discount=0.95,
        horizon=HORIZON,
    )
    return replace(task, origin=("A hallway after Littman, Cassandra & Kaelbling (1995)", *plan))


def grid(width: int, height: int) -> tuple[str, ...]:
    """A plan for `hallway`: corridors two cells apart around pillars, the goal in the far corner."""
    cell = lambda x, y: "G" if (x, y) == (width - 1, height - 1) else "#" if x % 2 and y % 2 else "."
    return tuple("".join(cell(x, y) for x in range(width)) for y in range(height))


def _as_none(matrix):
    """[S, 3]: what shows the end, the fourth column, as a reading of none."""
    end = matrix[:, [3]].tocsr()
    end.resize((matrix.shape[0], 3))
    return end


GENERATORS: dict[str, Callable[[], TabularPOMDP]] = {
    **{f"rock_sample_{size}_{rocks}": partial(rock_sample, size, rocks) for size, rocks in LAYOUTS},
    "tag": tag,
    "hallway_23": hallway,
    "hallway_large": partial(hallway, grid(21, 21)),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", choices=[*GENERATORS, []], metavar="NAME", help=", ".join(GENERATORS))
    parser.add_argument("--out", type=Path, required=True, help="the folder to write to")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    for name in options.names or GENERATORS:
        write_pomdp(GENERATORS[name](), options.out / f"{name}.POMDP")


if __name__ == "__main__":
    main()
