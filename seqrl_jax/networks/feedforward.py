"""Memories that remember nothing."""

from __future__ import annotations

import flax.linen as nn
import jax.numpy as jnp
from jax import Array

from seqrl_jax.networks.base import Memory
from seqrl_jax.networks.layers import DENSE_INIT, Codes, Dense, InputDense
from seqrl_jax.networks.module import Carry
from seqrl_jax.settings import Width


class Table(Memory):
    """The observation's own code: a linear function of it is one free number per observation and output."""

    @property
    def reach(self) -> int:
        return 1

    @property
    def tabular(self) -> bool:
        return True

    @nn.nowrap
    def initial_carry(self, batch: int) -> Carry:
        return ()

    def unroll(self, carry: Carry, xs: Codes, firsts: Array) -> tuple[Carry, Array]:
        return carry, jnp.concatenate(xs, -1)


class FeedForward(Memory):
    """Two hidden layers of `width` tanh units over the current input."""

    width: Width = 32

    @property
    def reach(self) -> int:
        return 1

    @nn.nowrap
    def initial_carry(self, batch: int) -> Carry:
        return ()

    @nn.compact
    def unroll(self, carry: Carry, xs: Codes, firsts: Array) -> tuple[Carry, Array]:
        hidden = nn.tanh(InputDense(self.width)(xs))
        return carry, nn.tanh(Dense(self.width, kernel_init=DENSE_INIT)(hidden))
