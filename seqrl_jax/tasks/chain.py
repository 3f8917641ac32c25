"""A context is shown once, and one bit of it is asked for at the end (bsuite's memory chain)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from seqrl_jax.settings import Depth, Horizon
from seqrl_jax.tasks.environment import Box, Discrete, Transition, Whole
from seqrl_jax.tasks.ready import HISTORY, MEMORYLESS, Ready, exactly

WORD, HALF = 32, 16
"""Bits of one random number, and of its half that draws the query."""


class ChainParams(NamedTuple):
    """length: steps between the context and the question, an int32 scalar."""

    length: Array


class ChainState(NamedTuple):
    """context: [bits], of 0 and 1. query: which of them is due. time: steps."""

    context: Array
    query: Array
    time: Array


@dataclass(frozen=True)
class MemoryChain(Whole):
    """Observed are the time that is left, the query where it is shown, and the context where that is, as -1 and 1.

    Chains of different lengths, none with more steps than `longest`, are one environment with other params.
    """

    longest: int
    bits: int

    @property
    def action_space(self) -> Discrete:
        return Discrete(2)

    @property
    def observation_space(self) -> Box:
        return Box((self.bits + 2,))

    def reset(self, key: Array, params: ChainParams) -> tuple[Array, ChainState]:
        # One draw for all: hashing keys is most of what a step costs that may begin an episode.
        words = jax.random.bits(key, (-(-(self.bits + HALF) // WORD),))
        context = (words[:, None] >> jnp.arange(WORD, dtype=jnp.uint32)) & 1
        query = (words[-1] >> HALF) * self.bits >> HALF
        state = ChainState(context.ravel()[: self.bits].astype(jnp.int32), query.astype(jnp.int32), jnp.int32(0))
        return self._shown(state, params), state

    def step(self, key: Array, state: ChainState, action: Array, params: ChainParams) -> Transition:
        due = state.time == params.length
        right = action == state.context[state.query]
        reward = jnp.where(due, jnp.where(right, 1.0, -1.0), 0.0)
        # As in bsuite, a step shows what the state was before it.
        after = state._replace(time=state.time + 1)
        return Transition(self._shown(state, params), after, reward, due, jnp.bool_(False), {})

    def horizon(self, params: ChainParams) -> Array:
        return params.length + 1

    def _shown(self, state: ChainState, params: ChainParams) -> Array:
        left = 1 - state.time.astype(jnp.float32) / params.length.astype(jnp.float32)
        query = jnp.where(state.time == params.length - 1, state.query, 0).astype(jnp.float32)
        context = jnp.where(state.time == 0, 2.0 * state.context.astype(jnp.float32) - 1, 0.0)
        place = jnp.arange(self.bits + 2)
        return jnp.where(place == 0, left, jnp.where(place == 1, query, jnp.pad(context, (2, 0))))


def memory_chain(length: Horizon = 30, bits: Depth = 1) -> Ready:
    """Bits are shown at the beginning, in the first two observations; which of them is asked for stands in the last.

    Right or wrong is paid with 1 or -1, once.

    Picture::

        [+1] [+1] [ ] [ ] ... [which one?]    say: 1

    Seed idea: the length is the only dial.
    Source: Osband et al. (2020), bsuite, sec. B.9.
    """
    # In the shortest one the context stands beside the query.
    blind = 1.0 if length == 1 else 0.0
    certified = {
        MEMORYLESS: exactly(blind, "what is seen when the answer is due tells nothing of the context"),
        HISTORY: exactly(1.0, "who recalls the context is right"),
    }
    return Ready(MemoryChain(length + 1, bits), ChainParams(jnp.int32(length)), certified)
