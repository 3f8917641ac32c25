"""Memories that are a matrix S [B, heads, K, V] of decaying outer products, worked off chunk by chunk.

`S_t = sum_s share(t, s) k_s v_s^T` and `y_t = S_t^T q_t`: what steps of one chunk of C say to each other are masked
products, of all chunks at once, and what earlier ones say passes from chunk to chunk as the matrix. That is O(T C) work
in T / C steps one after another; a chunk of one step is the recurrence.

Source: Dao & Gu (2024), sec. 6.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array

from seqrl_jax.naming import require
from seqrl_jax.networks.base import Memory, cleared
from seqrl_jax.settings import Count, Depth, Width

Arrays = tuple[Array, ...]
Prepare = Callable[[Arrays, Array], Any]
"""(steps [C, B, ...], firsts [C, B]) -> what is made of a chunk without knowing what came before it."""
Advance = Callable[[Any, Any], tuple[Any, Array]]
"""(carry, what was made of a chunk) -> the carry after it, and its outputs [C, B, ...]."""


class MatrixMemory(Memory):
    """What such memories share.

    Attributes:
        width: of the output, and of the values of all heads together. heads: must divide width. chunk: C, at most so
            many steps are worked off at once.
    """

    width: Width = 32
    heads: Depth = 4
    chunk: Count = 32

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.width % self.heads == 0, "heads must divide width", width=self.width, heads=self.heads)

    @property
    def size(self) -> int:
        """Of a head."""
        return self.width // self.heads

    @nn.nowrap
    def by_head(self, array: Array) -> Array:
        """[..., heads, F / heads] of [..., F]."""
        return array.reshape(*array.shape[:-1], self.heads, -1)

    @nn.nowrap
    def flat(self, array: Array) -> Array:
        """[..., F] of [..., heads, F / heads]."""
        return array.reshape(*array.shape[:-2], -1)

    @nn.nowrap
    def in_chunks(
        self, prepare: Prepare, advance: Advance, carry: Any, steps: Arrays, blank: tuple[float, ...], firsts: Array
    ) -> tuple[Any, Array]:
        """The carry after T steps, and their outputs [T, B, ...].

        Args: steps: arrays [T, B, ...]. blank: what each of them holds at a step that leaves no trace; the last chunk
            is filled up with such steps. firsts: [T, B] bool.
        """
        length = firsts.shape[0]
        chunk = min(self.chunk, length)

        def split(array: Array, fill: float = 0) -> Array:
            ends = [(0, -length % chunk)] + [(0, 0)] * (array.ndim - 1)
            return jnp.pad(array, ends, constant_values=fill).reshape(-1, chunk, *array.shape[1:])

        chunks = jax.vmap(prepare)(tuple(map(split, steps, blank)), split(firsts))
        carry, outputs = jax.lax.scan(advance, cleared(carry, firsts[0]), chunks)
        return carry, outputs.reshape(-1, *outputs.shape[2:])[:length]


def spans(firsts: Array) -> tuple[Array, Array]:
    """Which steps of a chunk are of one episode.

    Args: firsts: [C, B] bool.
    Returns: [t, s, B] bool, whether s stands at or before t in the episode of t; [C, B] bool, whether that episode
    began before the chunk.
    """
    begun, steps = jnp.cumsum(firsts, 0), jnp.arange(len(firsts))
    return (begun[:, None] == begun) & (steps[:, None] >= steps)[..., None], begun == 0


def log_shares(log_decay: Array, firsts: Array) -> tuple[Array, Array]:
    """How much is left at step t of what step s wrote, and of what the chunk began with, in logarithms.

    Sums begin with each episode, so that nothing of another one enters, not even what it was rounded to.

    Args: log_decay: [C, B, heads], of what was there before a step. firsts: [C, B] bool.
    Returns: [t, s, B, heads], the sum over s < j <= t, and [t, B, heads], the sum over j <= t; -inf of nothing.
    """
    within, before = spans(firsts)
    sums = jnp.einsum("tsb,sbh->tbh", within.astype(log_decay.dtype), log_decay, precision="highest")
    between = jnp.where(within[..., None], sums[:, None] - sums, -jnp.inf)
    return between, jnp.where(before[..., None], sums, -jnp.inf)


class LinearChunk(NamedTuple):
    """A chunk as a linear function of the matrix S before it: it reads `query S + read` and leaves `left S + added`.

    query: [C, B, heads, K]. read: [C, B, heads, V]. left: [B, heads, 1, 1]. added: [B, heads, K, V].
    """

    query: Array
    read: Array
    left: Array
    added: Array


def attended(query: Array, key: Array, value: Array, within: Array, before: Array) -> LinearChunk:
    """A chunk of steps that only add to the matrix.

    Args:
        query, key: [C, B, heads, K]. value: [C, B, heads, V].
        within: [t, s, B, heads], the share of what s wrote at t. before: [C, B, heads], that of what was there before.
    """
    weight = jnp.einsum("tbhk,sbhk->tsbh", query, key) * within
    read = jnp.einsum("tsbh,sbhv->tbhv", weight, value)
    added = jnp.einsum("sbhk,sbhv->bhkv", key * within[-1, ..., None], value)
    return LinearChunk(query * before[..., None], read, before[-1, ..., None, None], added)


def advance(matrix: Array, chunk: LinearChunk) -> tuple[Array, Array]:
    """The matrix [B, heads, K, V] after a chunk, and what its steps read, [C, B, heads, V]."""
    read = jnp.einsum("tbhk,bhkv->tbhv", chunk.query, matrix) + chunk.read
    return chunk.left * matrix + chunk.added, read
