"""A maze in words."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from seqrl_jax.dialogue.game import Game, anything, checked, speaker
from seqrl_jax.settings import Horizon, Probability
from seqrl_jax.tasks.build import Outcome, build, ends, goes, uniform

ROOMS = (
    "#########",
    "#.#..#..#",
    "#.##.#.##",
    "#....#..#",
    "#.##.##.#",
    "#..#....#",
    "##.#.##.#",
    "#......G#",
    "#########",
)
Room = tuple[int, int]
WAYS = {"north": (-1, 0), "east": (0, 1), "south": (1, 0), "west": (0, -1)}


def text_maze(turns: Horizon = 16, expert: Probability = 0.15) -> Game:
    """You stand somewhere in a maze and hear which ways are open; every step costs 1 until the goal is reached.

    Rooms with the same ways sound alike. The logs walk at random, and go the shortest way with probability `expert`, as
    far as what was heard tells where they are: no dialogue of theirs is good, good ones are stitched from their parts.

    Picture::

        north south -- go north -- east west -- go east -- ... -- (goal)

    Seed idea: parts of bad dialogues make a good one.
    """
    goal = next((y, x) for y, row in enumerate(ROOMS) for x, cell in enumerate(row) if cell == "G")
    rooms = [(y, x) for y, row in enumerate(ROOMS) for x, cell in enumerate(row) if cell == "."]
    utterances = {f"go_{way}": way for way in WAYS}

    def step(room: Room, said: str) -> Outcome:
        after = _beside(room, utterances[said])
        if after == goal:
            return ends(0.0)
        return goes(after if _is_open(after) else room, -1.0)

    open_ways = lambda room: "_".join(way for way in WAYS if _is_open(_beside(room, way)))
    far = _distances(goal, lambda room: [after for way in WAYS if _is_open(after := _beside(room, way))])
    start = [room for room in rooms if far[room] > 4]
    task = build(
        name="text_maze",
        states=rooms,
        actions=list(utterances),
        observations=list(dict.fromkeys(open_ways(room) for room in rooms)),
        start=uniform(start),
        step=step,
        observe=open_ways,
        discount=1.0,
        horizon=turns,
    )

    def nearer(room: Room, said: str) -> float:
        after = _beside(room, utterances[said])
        return -float(far[after] if _is_open(after) else far[room] + 1)

    names = list(utterances)
    speakers = (speaker(expert, rooms, names, nearer), anything(1 - expert, rooms, names))
    return checked(Game(task, speakers))


def _beside(room: Room, way: str) -> Room:
    return room[0] + WAYS[way][0], room[1] + WAYS[way][1]


def _is_open(room: Room) -> bool:
    return ROOMS[room[0]][room[1]] != "#"


def _distances(goal: Room, neighbours: Callable[[Room], list[Room]]) -> dict[Room, int]:
    far, queue = {goal: 0}, deque([goal])
    while queue:
        here = queue.popleft()
        for after in neighbours(here):
            if after not in far:
                far[after] = far[here] + 1
                queue.append(after)
    return far
