"""An observation that says nothing: zeros of an array, and of symbols one more, the last.

Of a table it is what the table says is its blank, never one that is only called so.
"""

from __future__ import annotations

from dataclasses import dataclass

import jax.numpy as jnp
from jax import Array

from seqrl_jax.tasks.environment import Discrete, Space, zeros_in
from seqrl_jax.tasks.tabular import TabularPOMDP
from seqrl_jax.tasks.wrappers.marked import unused


@dataclass(frozen=True)
class DiscreteWithBlank(Discrete):
    """Integers in [0, size), of which the last says nothing."""


def names_with_blank(task: TabularPOMDP) -> tuple[tuple[str, ...], str]:
    """The names of a task's observations with its blank, and the blank's: one is enough, and a task has it or gets it.

    What is added is called `blank`, or something else where an observation has that name.
    """
    if task.blank is not None:
        return task.observations, task.blank
    blank = unused("blank", task.observations)
    return (*task.observations, blank), blank


def space_with_blank(space: Space) -> Space:
    """The space and a blank, which it may have already."""
    if isinstance(space, DiscreteWithBlank) or not isinstance(space, Discrete):
        return space
    return DiscreteWithBlank(space.size + 1)


def blank_in(space: Space) -> Array:
    """The observation that says nothing, of a space that has one."""
    return jnp.int32(space.size - 1) if isinstance(space, Discrete) else zeros_in(space)


def mask_with_blank(space: Space, mask: Array) -> Array:
    """The mask of `space_with_blank`, of that of `space`."""
    return mask if space_with_blank(space) == space else jnp.append(mask, True)
