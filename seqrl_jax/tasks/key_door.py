"""A key that is worth nothing until a door is reached, with apples to be earned in between."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from msgspec import Meta

from seqrl_jax.settings import Delay, Weight
from seqrl_jax.tasks.environment import Discrete, Transition, Whole
from seqrl_jax.tasks.ready import HISTORY, MEMORYLESS, Ready, exactly

RoomCells = Annotated[int, Meta(ge=2, le=100)]
KEY, APPLES, DOOR = range(3)


class KeyDoorState(NamedTuple):
    """agent, thing: cells; the thing's is `cells` where there is none. key: whether the agent has it. time: steps."""

    agent: Array
    thing: Array
    key: Array
    time: Array


class KeyDoorPays(NamedTuple):
    """apple: an apple's mean. door: what the door pays who has the key."""

    apple: Array
    door: Array


@dataclass(frozen=True)
class KeyToDoor(Whole):
    """Observed are the room, the agent's cell and the cell of the thing that is there, as one number."""

    cells: int
    delay: int
    action_space = Discrete(3)

    @property
    def across(self) -> int:
        """Steps in which every cell of a room can be reached from every other."""
        return self.cells - 1

    @property
    def longest(self) -> int:
        return 2 * self.across + self.delay

    @property
    def observation_space(self) -> Discrete:
        return Discrete(3 * self.cells * (self.cells + 1))

    def reset(self, key: Array, params: KeyDoorPays) -> tuple[Array, KeyDoorState]:
        agent, thing = self._placed(key)
        state = KeyDoorState(agent, thing, jnp.bool_(False), jnp.int32(0))
        return self._shown(state), state

    def step(self, key: Array, state: KeyDoorState, action: Array, params: KeyDoorPays) -> Transition:
        placed_key, apple_key = jax.random.split(key)
        here, time = self._room(state.time), state.time + 1
        agent = jnp.clip(state.agent + action - 1, 0, self.cells - 1)
        taken = agent == state.thing
        apple = jnp.where(jax.random.bernoulli(apple_key), 2 * params.apple, 0.0)
        pays = jnp.stack([jnp.float32(0), apple, jnp.where(state.key, params.door, 0.0)])
        reward = jnp.where(taken, pays[here], 0.0)
        ended = (taken & (here == DOOR)) | (time == self.longest)

        # The next room begins anywhere; the next apple, in any other cell than the agent's.
        elsewhere, place = self._placed(placed_key)
        left = jnp.where(here == APPLES, (agent + (place - elsewhere)) % self.cells, self.cells)
        thing = jnp.where(taken, left, state.thing)
        moved = self._room(time) != here
        after = KeyDoorState(
            jnp.where(moved, elsewhere, agent),
            jnp.where(moved, place, thing),
            state.key | (taken & (here == KEY)),
            time,
        )
        return Transition(self._shown(after), after, reward, ended, jnp.bool_(False), {})

    def _room(self, time: Array) -> Array:
        """Which room the agent is in after so many steps."""
        return (time >= self.across).astype(jnp.int32) + (time >= self.across + self.delay).astype(jnp.int32)

    def _placed(self, key: Array) -> tuple[Array, Array]:
        """The agent in any cell and a thing in any other one."""
        both = jax.random.randint(key, (), 0, self.cells * self.across)
        agent, distance = both // self.across, 1 + both % self.across
        return agent, (agent + distance) % self.cells

    def _shown(self, state: KeyDoorState) -> Array:
        return (self._room(state.time) * self.cells + state.agent) * (self.cells + 1) + state.thing


def key_to_door(cells: RoomCells = 5, delay: Delay = 30, apple: Weight = 1.0, door: Weight = 5.0) -> Ready:
    """Three rooms, one after the other, each a row of `cells` cells in which the agent moves left, stays or moves right
    and takes what it comes to. The first one has a key, and lets the agent go after `cells` - 1 steps, with or without
    it. In the second, for `delay` steps, there is always one apple, which pays 0 or 2 `apple`, whichever a coin says,
    and grows anew in another cell. The third has a door, which ends the episode and pays `door` to who has the key;
    there is time enough to reach it. The agent and what is there begin in any two cells. The key is seen lying in the
    first room, but not carried.

    Picture::

        [ ][k][ ][A][ ]   ->   [A][ ][ ][o][ ]   ->   [ ][A][ ][ ][D]
         cells - 1 steps           delay steps          cells - 1 steps

    Seed idea: a reward belongs to what was done long before, and others with more noise lie in between. Memory does not
    help to act here, so what is lost is lost in the assignment of credit.
    Source: Hung et al. (2019), Optimizing agent behavior over long time scales by transporting value; Mesnard et al.
    (2021), Counterfactual credit assignment.
    Optimum: `door` and the apples that straight walks take, by induction over cells and steps. The best policy of the
    observation has it too.
    """
    value = door + apple * _apples(cells, delay)
    certified = {
        MEMORYLESS: exactly(value, "straight to whatever is there"),
        HISTORY: exactly(value, "straight to whatever is there; apples by induction over cells and steps"),
    }
    return Ready(KeyToDoor(cells, delay), KeyDoorPays(jnp.float32(apple), jnp.float32(door)), certified)


def _apples(cells: int, steps: int) -> float:
    """The expected number of apples that are taken in so many steps from any cell, walking straight to each."""
    distance = np.abs(np.arange(cells)[:, None] - np.arange(cells))
    # ahead[r, c]: of who stands in cell c, where the next apple is not yet placed, with r steps left.
    ahead = np.zeros((steps + 1, cells))
    for left in range(1, steps + 1):
        taken = (distance > 0) & (distance <= left)
        after = 1 + ahead[left - np.minimum(distance, left), np.arange(cells)]
        ahead[left] = np.where(taken, after, 0.0).sum(1) / (cells - 1)
    return float(ahead[steps].mean())
