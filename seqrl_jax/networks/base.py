"""What a memory is: a carry, and outputs along a rollout."""

from __future__ import annotations

from typing import Any, Self

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array

from seqrl_jax.networks.experience import Experience
from seqrl_jax.networks.layers import Codes
from seqrl_jax.networks.module import Carry, Module
from seqrl_jax.settings import LARGEST
from seqrl_jax.tasks.environment import Space

DRAWS = "draw"
"""The name of the random numbers by which a memory draws its state; without them it uses the state's mean."""


class Memory(Module):
    """A sequence backbone: its fields describe shapes, and no method but `unroll` and `auxiliary_loss` reads weights.

    What holds of every memory, for B sequences side by side: a rollout at once equals its steps one by one and its
    parts one after another; where `firsts` is true the input begins an episode, and nothing that was carried reaches
    this output or a later one, nor does a gradient. A step whose input is no number, and a carry that holds one, spoil
    outputs of their own episode at most. Where several steps are read at once, such a step spoils its own alone, and no
    gradient: there both are read as zeros, for what is no number would outlive a reset, 0 times it being none either.
    So would a sum that overflows, and so a number beyond `LARGEST` is read as that: products of a few of them are
    numbers, and gradients are.
    """

    @property
    def reach(self) -> int | None:
        """How many inputs the output may depend on, this one included; None: all of the episode so far."""
        return None

    @property
    def tabular(self) -> bool:
        """Whether its outputs are its inputs: a linear function of them is a table, and needs no bias."""
        return False

    @property
    def has_model(self) -> bool:
        """Whether it is learned by an auxiliary loss, without which it knows nothing."""
        return False

    @property
    def draws(self) -> bool:
        """Whether its state is a draw, another one each time that it reads the same."""
        return False

    @nn.nowrap
    def for_horizon(self, horizon: int) -> Self:
        """The memory with every static length that must hold a whole episode made long enough."""
        return self

    @nn.nowrap
    def for_environment(self, observation_space: Space, action_space: Space) -> Self:
        """The memory fitted to what it sees and does, where it has a model of that."""
        return self

    @nn.nowrap
    def initial_carry(self, batch: int) -> Carry:
        """The carry [B, ...] before an episode."""
        raise NotImplementedError

    def __call__(self, carry: Carry, xs: Codes, firsts: Array) -> tuple[Carry, Array]:
        """Args: xs: codes [T, B, I_k]; firsts: [T, B] bool.
        Returns: the carry after the last step, and outputs [T, B, F]."""
        finite = tuple(map(jnp.isfinite, xs))
        xs = tuple(jnp.where(found, jnp.clip(x, -LARGEST, LARGEST), x) for found, x in zip(finite, xs, strict=True))
        if len(firsts) == 1:
            return self.unroll(carry, xs, firsts)  # nothing lies behind it
        lost = sum(map(_spoiled, jax.tree.leaves(carry)), jnp.zeros(firsts.shape[1], bool))
        of_lost = lost & (jnp.cumsum(firsts, 0) == 0)
        sound = jnp.stack([~of_lost, *(found.all(-1) for found in finite)]).all(0)[..., None]
        carry, ys = self.unroll(cleared(carry, lost), tuple(jnp.where(sound, x, 0) for x in xs), firsts)
        return carry, jnp.where(sound, ys, jnp.nan)

    def unroll(self, carry: Carry, xs: Codes, firsts: Array) -> tuple[Carry, Array]:
        """What `__call__` does, of several steps whose inputs are numbers or of one."""
        raise NotImplementedError

    def auxiliary_loss(
        self, carry: Carry, xs: Codes, experience: Experience, observation_mask: Array
    ) -> tuple[Array, dict[str, Array]]:
        """What the memory learns by itself along a rollout, and the terms of it, in means: nothing.

        Args: carry, xs: as in `__call__`. observation_mask: [O] bool, the observations that the task has.
        """
        return jnp.float32(0), {}

    @nn.nowrap
    def initial_diagnostics(self) -> Any:
        """What is known of a run's health before its first update."""
        return ()

    @nn.nowrap
    def diagnose(self, diagnostics: Any, terms: dict[str, Array]) -> Any:
        """The diagnostics after another update with these terms of the auxiliary loss."""
        return diagnostics

    @nn.nowrap
    def alarms(self, diagnostics: Any) -> dict[str, Array]:
        """Sentences of which a reader of the scores should know, each with whether it holds."""
        return {}


def cleared(carry: Any, first: Array) -> Any:
    """The carry [B, ...], zero where an episode begins."""
    return jax.tree.map(lambda leaf: jnp.where(_like(first, leaf), jnp.zeros_like(leaf), leaf), carry)


def _spoiled(leaf: Array) -> Array:
    """[B] bool, whether a carry's leaf [B, ...] holds what is no number."""
    return ~jnp.isfinite(leaf).all(tuple(range(1, leaf.ndim)))


def _like(flag: Array, leaf: Array) -> Array:
    return flag.reshape(flag.shape + (1,) * (leaf.ndim - flag.ndim))
