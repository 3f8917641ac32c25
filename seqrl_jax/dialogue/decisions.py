"""Along a dialogue's decisions: the agent's own symbols among all that was said.

What the other says is read and never chosen: it neither ends a return nor counts as a step.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array


def at_next_decision(value: Array, own: Array) -> Array:
    """[T, B]: the value [T, B] at the next own place behind each, 0 where none follows."""

    def back(later: Array, at: tuple[Array, Array]) -> tuple[Array, Array]:
        value, own = at
        return jnp.where(own, value, later), later

    return jax.lax.scan(back, jnp.zeros(value.shape[1:]), (value, own), reverse=True)[1]


def return_to_go(reward: Array, onward: Array, own: Array) -> Array:
    """[T, B]: of own places, the discounted rewards from there on."""

    def back(later: Array, at: tuple[Array, Array, Array]) -> tuple[Array, Array]:
        reward, onward, own = at
        here = jnp.where(own, reward + onward * later, later)
        return here, here

    return jax.lax.scan(back, jnp.zeros(reward.shape[1:]), (reward, onward, own), reverse=True)[1]


def gae(reward: Array, onward: Array, own: Array, value: Array, lambda_: Array | float) -> Array:
    """[T, B]: generalised advantage estimates where one step leads from an own place to the next."""
    error = jnp.where(own, reward + onward * at_next_decision(value, own) - value, 0.0)
    return return_to_go(error, lambda_ * onward, own)


class Turns(NamedTuple):
    """What was said, turn by turn [K, B]: the reward of each, the discount behind it (0 after the last one), and
    whether it was talked."""

    reward: Array
    onward: Array
    talked: Array


def by_turn(reward: Array, onward: Array, own: Array, turn: Array, turns: int) -> Turns:
    """Decisions [T, B] with the number of their turn, gathered into so many turns."""
    at = _places(own, turn, turns)
    product = jnp.prod(jnp.where(at, onward[None], 1.0), 1)
    talked = at.any(1)
    return Turns(jnp.sum(jnp.where(at, reward[None], 0.0), 1), jnp.where(talked, product, 0.0), talked)


def at_turn_start(value: Array, own: Array, turn: Array, turns: int) -> Array:
    """[K, B]: a value [T, B] at the first own place of each turn, 0 where there is none."""
    at = _places(own, turn, turns)
    first = at & (jnp.cumsum(at, 1) == 1)
    return jnp.sum(jnp.where(first, value[None], jnp.zeros((), value.dtype)), 1, dtype=value.dtype)


def at_turn_end(value: Array, own: Array, turn: Array, turns: int) -> Array:
    """[K, B]: the same at the last own place."""
    return at_turn_start(value[::-1], own[::-1], turn[::-1], turns)


def spread(of_turn: Array, own: Array, turn: Array) -> Array:
    """[T, B]: at every own place what belongs to its turn [K, B], 0 elsewhere."""
    return jnp.where(own, jnp.take_along_axis(of_turn, turn, 0), 0.0)


def turn_lengths(own: Array, turn: Array, turns: int) -> Array:
    """[T, B]: of how many own symbols the turn is made to which an own place belongs, 1 elsewhere."""
    count = _places(own, turn, turns).sum(1).astype(jnp.float32)
    return jnp.maximum(spread(count, own, turn), 1.0)


def _places(own: Array, turn: Array, turns: int) -> Array:
    """[K, T, B] bool: which places belong to which turn."""
    return jnp.arange(turns)[:, None, None] == jnp.where(own, turn, -1)[None]


def mean_over(weight: Array, value: Array) -> Array:
    """The mean of a value [T, B] where it counts; what does not count may be anything but no number."""
    return jnp.sum(jnp.where(weight > 0, weight * value, 0.0)) / jnp.maximum(jnp.sum(weight), 1e-9)
