"""What two agents talk about: objects with attributes, and tasks that ask for two of them."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Annotated

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from msgspec import Meta

from seqrl_jax.naming import check

Few = Annotated[int, Meta(ge=2, le=6)]
"""Attributes, or values of each; every object is listed."""


@dataclass(frozen=True)
class World:
    """Objects with so many `attributes` of so many `values` each.

    Objects are arrays [..., attributes] of the numbers of their values; tasks are numbers in 0 ... num_tasks - 1.
    Source: Kottur et al. (2017), sec. 2: 3 attributes of 4 values, 64 objects, 6 tasks.
    """

    attributes: Few = 3
    values: Few = 4

    def __post_init__(self) -> None:
        check(self)

    @property
    def objects(self) -> np.ndarray:
        """[N, attributes]: every object."""
        return np.array(list(itertools.product(range(self.values), repeat=self.attributes)), np.int32)

    @property
    def tasks(self) -> np.ndarray:
        """[num_tasks, 2]: the ordered pairs of different attributes."""
        return np.array(list(itertools.permutations(range(self.attributes), 2)), np.int32)

    @property
    def num_tasks(self) -> int:
        return self.attributes * (self.attributes - 1)

    @property
    def num_guesses(self) -> int:
        """The values of all attributes: each of the two guesses is one of them."""
        return self.attributes * self.values

    def targets(self, objects: Array, tasks: Array) -> Array:
        """[2, B]: the right guesses of objects [B, attributes] and tasks [B], in the order of the task."""
        attribute = jnp.asarray(self.tasks)[tasks]
        return (attribute * self.values + jnp.take_along_axis(objects, attribute, 1)).T

    def correct(self, guess: Array, objects: Array, tasks: Array) -> Array:
        """[2, B] bool: which of the guesses [2, B] are right."""
        return guess == self.targets(objects, tasks)

    def reward(self, guess: Array, objects: Array, tasks: Array) -> Array:
        """[B]: 1 where both guesses are right, else 0."""
        return self.correct(guess, objects, tasks).all(0).astype(jnp.float32)

    def split(self, key: Array, held_out: float) -> tuple[Array, Array]:
        """Objects to train on and others to judge by, drawn at random: [N, attributes] of each.

        Args: held_out: their share of all objects, rounded up. Source: Kottur et al. (2017), sec. 4: a fifth.
        """
        shuffled = jax.random.permutation(key, self.objects)
        count = int(len(self.objects) * (1 - held_out))
        return shuffled[:count], shuffled[count:]

    def cases(self, objects: Array) -> tuple[Array, Array]:
        """Every one of the objects [N, attributes] with every task: [N * num_tasks, attributes], [N * num_tasks]."""
        tasks = jnp.tile(jnp.arange(self.num_tasks), len(objects))
        return jnp.repeat(objects, self.num_tasks, 0), tasks
