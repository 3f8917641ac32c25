"""Observations in parts: symbols as one-hot codes, so that parts stand side by side along an array's last axis."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
from jax import Array

from seqrl_jax.naming import require
from seqrl_jax.tasks.environment import Box, Discrete, Space
from seqrl_jax.tasks.wrappers.blank import DiscreteWithBlank


def of_arrays(space: Space, **setting: object) -> Box:
    """The space itself. Raises: SpecError where it is one of symbols, naming the setting that needs arrays."""
    require(not isinstance(space, Discrete), "observations are symbols, it needs arrays", **setting)
    assert isinstance(space, Box)
    return space


def code_space(space: Space) -> Box:
    """The space of `code`: the space itself if it is of arrays with an axis."""
    if isinstance(space, Discrete):
        return Box((_says_something(space),), active=1)
    return space if space.shape else Box((1,))


def code(element: Array, space: Space) -> Array:
    """An element of a space as an array: one-hot of a symbol, zeros of one that says nothing, a number as [1], and any
    other array as it is."""
    # What lies behind the last code is coded by zeros, and there is the blank.
    return jax.nn.one_hot(element, _says_something(space)) if isinstance(space, Discrete) else jnp.atleast_1d(element)


def beside(array: Array, part: Array) -> Array:
    """[..., C + P]: a part behind an array [..., C]; of an image it fills planes of its own, a number each."""
    flat = part.reshape(-1)
    return jnp.concatenate([array, jnp.broadcast_to(flat, (*array.shape[:-1], flat.size))], -1)


def with_more(space: Box, part: Box) -> Box:
    """The space of `beside`."""
    *places, channels = space.shape
    more, numbers = math.prod(part.shape), math.prod(places)
    active = _active(space) + numbers * _active(part)
    whole = Box((*places, channels + more))
    return whole if active == math.prod(whole.shape) else Box(whole.shape, active)


def repeated(space: Box, count: int) -> Box:
    """The space of `count` elements side by side along the last axis."""
    *places, channels = space.shape
    return Box((*places, count * channels), None if space.active is None else count * space.active)


def _says_something(space: Discrete) -> int:
    """How many symbols do."""
    return space.size - isinstance(space, DiscreteWithBlank)


def _active(space: Box) -> int:
    return math.prod(space.shape) if space.active is None else space.active
