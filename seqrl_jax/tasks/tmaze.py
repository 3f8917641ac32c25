"""A T-maze whose corridor may be a million cells long: one bit is carried from one end to the other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from seqrl_jax.settings import Count
from seqrl_jax.tasks.environment import Discrete, Transition, Whole
from seqrl_jax.tasks.ready import HISTORY, MEMORYLESS, Ready, exactly

EAST, NORTH, WEST, SOUTH = range(4)
CORRIDOR, CUE_NORTH, CUE_SOUTH, JUNCTION, NORTH_ARM, SOUTH_ARM = range(6)


class TMazeState(NamedTuple):
    """goal: 1 north, -1 south. x: cells from the oracle. y: 1 in the north arm, -1 in the south arm, else 0. read:
    whether the cue has been shown. time: steps. However long the corridor is, this is all."""

    goal: Array
    x: Array
    y: Array
    read: Array
    time: Array


@dataclass(frozen=True)
class TMaze(Whole):
    """length: cells from the start to the junction. detour: cells from the start back to the oracle."""

    length: int
    detour: int
    action_space = Discrete(4)
    observation_space = Discrete(6)

    @property
    def longest(self) -> int:
        """T: to the oracle, to the junction and into an arm leaves no step over."""
        return self.length + 2 * self.detour + 1

    @property
    def junction(self) -> int:
        """The junction's x."""
        return self.detour + self.length

    def reset(self, key: Array, params: Any) -> tuple[Array, TMazeState]:
        goal = 2 * jax.random.bernoulli(key).astype(jnp.int32) - 1
        return self._entered(goal, jnp.int32(self.detour), jnp.int32(0), jnp.bool_(False), jnp.int32(0))

    def step(self, key: Array, state: TMazeState, action: Array, params: Any) -> Transition:
        along, across = jnp.array([1, 0, -1, 0])[action], jnp.array([0, 1, 0, -1])[action]
        x = jnp.where(state.y == 0, jnp.clip(state.x + along, 0, self.junction), state.x)
        y = jnp.where(state.x == self.junction, jnp.clip(state.y + across, -1, 1), state.y)
        time = state.time + 1
        ended = time == self.longest
        late = x < time - self.detour
        reward = jnp.where(ended, jnp.where(y == state.goal, 1.0, 0.0), jnp.where(late, -1.0 / self.length, 0.0))
        obs, after = self._entered(state.goal, x, y, state.read, time)
        return Transition(obs, after, reward, ended, jnp.bool_(False), {})

    def _entered(self, goal: Array, x: Array, y: Array, read: Array, time: Array) -> tuple[Array, TMazeState]:
        """What is seen in a cell, and the state there."""
        cue = jnp.where(goal == 1, CUE_NORTH, CUE_SOUTH)
        arm = jnp.array([JUNCTION, NORTH_ARM, SOUTH_ARM])[y]
        shows = (x == 0) & ~read
        obs = jnp.where(x == self.junction, arm, jnp.where(shows, cue, CORRIDOR))
        return obs, TMazeState(goal, x, y, read | shows, time)


def long_tmaze(length: Count = 10, active: bool = False) -> Ready:
    """A corridor of `length` cells leads east to a junction, and an oracle shows once which arm there holds the prize.

    The agent starts at the oracle, or if `active` one cell east of it, and has just as many steps as it takes to read
    the cue and to enter an arm at the last one. To be in the cued arm then pays 1. Before that, every step that ends
    further west than the fastest reader of the cue could be costs 1 / `length`. The corridor, the start of `active` and
    the oracle after its first showing look alike, so nothing tells the time. Walls stop the agent.

    Picture::

                                     N: 1 or 0
        [cue][start][ ][ ][ ][ ] [J]                 (active; else the start is at the cue)
                                     S: 0 or 1

    Seed idea: nothing grows with the corridor but the delay, so how far back a memory reaches can be read off.
    Source: Ni et al. (2023), When do transformers shine in RL?, sec. 4.1; after Bakker (2001).
    Optimum: 1, by reading the cue and going straight. Memoryless: 1/2. Who has read the cue reaches the junction, if at
    all, with one step left, whatever the cue was; what is done there is then as likely right as wrong.
    """
    certified = {
        MEMORYLESS: exactly(0.5, "straight to the junction and a guess; what is seen there tells nothing of the cue"),
        HISTORY: exactly(1.0, "who reads the cue and goes straight is right and never late, and nothing else pays"),
    }
    return Ready(TMaze(length, int(active)), (), certified)
