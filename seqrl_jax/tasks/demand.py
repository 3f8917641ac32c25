"""A family of tasks that differ in nothing but the memory that they demand."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from msgspec import Meta

from seqrl_jax.settings import Delay, Horizon
from seqrl_jax.tasks.environment import Discrete, Transition, Whole
from seqrl_jax.tasks.ready import HISTORY, MEMORYLESS, Ready, exactly

Symbols = Annotated[int, Meta(ge=2, le=100)]
Order = Annotated[int, Meta(ge=1, le=1000)]


class DemandState(NamedTuple):
    """sums: [delay + order + 1] int8, the sum of symbols 0 to t at t mod this length. time: steps."""

    sums: Array
    time: Array


@dataclass(frozen=True)
class MemoryDemand(Whole):
    """Symbols are added modulo their number m."""

    symbols: int
    order: int
    delay: int
    answers: int

    @property
    def due(self) -> int:
        """The step of the first answer that counts: all symbols that it asks for have been shown."""
        return self.delay + self.order - 1

    @property
    def longest(self) -> int:
        return self.due + self.answers

    @property
    def action_space(self) -> Discrete:
        return Discrete(self.symbols)

    @property
    def observation_space(self) -> Discrete:
        return Discrete(self.symbols)

    def reset(self, key: Array, params: Any) -> tuple[Array, DemandState]:
        obs = jax.random.randint(key, (), 0, self.symbols)
        sums = jnp.zeros(self.due + 2, jnp.int8).at[0].set(obs.astype(jnp.int8))
        return obs, DemandState(sums, jnp.int32(0))

    def step(self, key: Array, state: DemandState, action: Array, params: Any) -> Transition:
        # The sum before the first symbol is the zero in the last place, which no symbol that counts has overwritten.
        upto, before = self._sum(state, state.time - self.delay), self._sum(state, state.time - self.delay - self.order)
        right = action == (upto - before) % self.symbols
        reward = jnp.where(state.time >= self.due, jnp.where(right, 1.0, -1.0) / self.answers, 0.0)
        obs, time = jax.random.randint(key, (), 0, self.symbols), state.time + 1
        total = (self._sum(state, state.time) + obs) % self.symbols
        sums = state.sums.at[time % len(state.sums)].set(total.astype(jnp.int8))
        return Transition(obs, DemandState(sums, time), reward, time == self.longest, jnp.bool_(False), {})

    def _sum(self, state: DemandState, upto: Array) -> Array:
        return state.sums[upto % len(state.sums)].astype(jnp.int32)


def memory_demand(symbols: Symbols = 2, order: Order = 2, delay: Delay = 4, answers: Horizon = 32) -> Ready:
    """A symbol appears at every step, uniform and independent, and is a number below `symbols`. Asked for is the sum
    modulo `symbols` of `order` of them that follow one another, the last of which came `delay` steps ago.

    There are `answers` answers that count, from when all symbols of the first one have been shown. Right ones add up to
    1, wrong ones to -1. Asked for is a fresh symbol at every step, so that to who recalls, all members are the same
    task. What must be carried from one step to the next is known: `order` + `delay` - 1 symbols, and no fewer.

    Picture::

        shown    1 0 1 1 0 0 1
        asked    - - - 1 1 0 1       (symbols = 2, order = 2, delay = 2)

    Seed idea: two dials of memory, how far back and how many, with nothing else behind them. All `order` symbols have
    to be combined, for a sum that lacks one of them says nothing.
    Source: after Wang et al. (2025), memory demand structures; `order` = 1 is RepeatPrevious of Morad et al. (2023).
    Optimum: 1. Memoryless: 2 / symbols - 1, unless the shown symbol is what is asked for.
    """
    env = MemoryDemand(symbols, order, delay, answers)
    if order == 1 and delay == 0:
        blind = exactly(1.0, "the symbol that is shown")
    else:
        blind = exactly(
            2 / symbols - 1, "whatever is shown, every answer is as likely to be right, and changes nothing"
        )
    recalled = exactly(1.0, "who recalls the symbols earns all that rewards add up to, in every episode")
    return Ready(env, (), {MEMORYLESS: blind, HISTORY: recalled})
