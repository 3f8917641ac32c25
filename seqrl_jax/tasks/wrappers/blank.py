"""An observation that says nothing: zeros of an array, and of symbols one more."""

from __future__ import annotations

import jax.numpy as jnp
from jax import Array

from seqrl_jax.tasks.environment import Discrete, Space, zeros_in
from seqrl_jax.tasks.tabular import TabularPOMDP

BLANK = "blank"


def names_with_blank(task: TabularPOMDP) -> tuple[str, ...]:
    """The names of a task's observations and `blank`, which it may have already: one that says nothing is enough."""
    return task.observations if BLANK in task.observations else (*task.observations, BLANK)


def space_with_blank(space: Space) -> Space:
    """The space to which `blank_in` belongs."""
    return Discrete(space.size + 1) if isinstance(space, Discrete) else space


def blank_in(space: Space) -> Array:
    """The observation that stands for none, of a space that had no such."""
    return jnp.int32(space.size) if isinstance(space, Discrete) else zeros_in(space)


def mask_with_blank(space: Space, mask: Array) -> Array:
    """The mask of `space_with_blank`, of that of `space`."""
    return jnp.append(mask, True) if isinstance(space, Discrete) else mask
