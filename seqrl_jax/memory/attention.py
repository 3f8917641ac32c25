"""A causal transformer whose carry is its cache of keys and values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from seqrl_jax.memory.base import Block, kernel
from seqrl_jax.memory.position import sinusoids, times
from seqrl_jax.naming import check, require
from seqrl_jax.settings import Count, Depth, Width


class Cache(NamedTuple):
    """What the last `context` steps left behind, oldest first.

    time: [B] int32, the time of the next step. valid: [B, C] bool, entries of the running episode.
    keys, values: [B, layers, C, width].
    """

    time: Array
    valid: Array
    keys: Array
    values: Array


@dataclass(frozen=True)
class Transformer:
    """Pre-norm blocks of attention over this step and the `context` steps before it, within the episode.

    Attributes:
        width: of the residual stream. heads: must divide width. layers: blocks. context: C, the steps that a step can
            look back. expansion: hidden width of each block's perceptron, in units of width.
    Source: Vaswani et al. (2017); Xiong et al. (2020) for the place of the normalisation.
    """

    width: Width = 64
    heads: Depth = 4
    layers: Depth = 1
    context: Count = 32
    expansion: Depth = 2

    def __post_init__(self) -> None:
        check(self)
        require(self.width % self.heads == 0, "heads must divide width", width=self.width, heads=self.heads)

    @property
    def reach(self) -> None:
        return None

    def features(self, inputs: int) -> int:
        return self.width

    def for_horizon(self, horizon: int) -> Transformer:
        return replace(self, context=max(self.context, horizon))

    def init(self, key: Array, inputs: Sequence[Block]) -> Any:
        embed_key, block_key = jax.random.split(key)
        return {
            "embed": kernel(embed_key, inputs, self.width),
            "blocks": jax.vmap(self._init_block)(jax.random.split(block_key, self.layers)),
        }

    def initialise(self, weights: Any, batch: int) -> Cache:
        empty = jnp.zeros((batch, self.layers, self.context, self.width))
        return Cache(jnp.zeros(batch, jnp.int32), jnp.zeros((batch, self.context), bool), empty, empty)

    def step(self, weights: Any, carry: Cache, x: Array, first: Array) -> tuple[Cache, Array]:
        carry, ys = self.unroll(weights, carry, x[None], first[None])
        return carry, ys[0]

    def unroll(self, weights: Any, carry: Cache, xs: Array, firsts: Array) -> tuple[Cache, Array]:
        time = times(carry.time, firsts)
        visible, kept = _visible(carry.valid, firsts, self.context)
        stream = (xs @ weights["embed"] + sinusoids(time, self.width)).swapaxes(0, 1)

        def block(stream: Array, layer: Any) -> tuple[Array, Any]:
            weights, old_keys, old_values = layer
            query, key, value = jnp.split(_normalised(stream) @ weights["attention"], 3, -1)
            keys = jnp.concatenate([old_keys, key], 1)
            values = jnp.concatenate([old_values, value], 1)
            stream = stream + self._attend(query, keys, values, visible) @ weights["mix"]
            hidden = jax.nn.gelu(_normalised(stream) @ weights["expand"] + weights["expand_bias"])
            stream = stream + hidden @ weights["contract"] + weights["contract_bias"]
            return stream, (keys[:, -self.context :], values[:, -self.context :])

        by_layer = lambda cache: cache.swapaxes(0, 1)
        stream, (keys, values) = jax.lax.scan(
            block, stream, (weights["blocks"], by_layer(carry.keys), by_layer(carry.values))
        )
        return Cache(time[-1] + 1, kept, by_layer(keys), by_layer(values)), _normalised(stream).swapaxes(0, 1)

    def _attend(self, query: Array, keys: Array, values: Array, visible: Array) -> Array:
        """query: [B, T, width]; keys, values: [B, C + T, width]; visible: [B, T, C + T]. Returns [B, T, width]."""
        apart = lambda array: array.reshape(*array.shape[:2], self.heads, -1)
        query, keys, values = apart(query), apart(keys), apart(values)
        score = jnp.einsum("bthd,bshd->bhts", query, keys) / query.shape[-1] ** 0.5
        weight = jax.nn.softmax(jnp.where(visible[:, None], score, -1e9))
        return jnp.einsum("bhts,bshd->bthd", weight, values).reshape(*query.shape[:2], -1)

    def _init_block(self, key: Array) -> Any:
        attention, mix, expand, contract = jax.random.split(key, 4)
        hidden = self.expansion * self.width
        return {
            "attention": kernel(attention, self.width, 3 * self.width),
            "mix": kernel(mix, self.width, self.width),
            "expand": kernel(expand, self.width, hidden),
            "expand_bias": jnp.zeros(hidden),
            "contract": kernel(contract, hidden, self.width),
            "contract_bias": jnp.zeros(self.width),
        }


def _visible(valid: Array, first: Array, context: int) -> tuple[Array, Array]:
    """Which of C cached and T new steps each new step may attend to, and which of the last C are of the episode.

    Args: valid: [B, C] bool. first: [T, B] bool.
    Returns: [B, T, C + T] bool, and [B, C] bool.
    """
    begun = jnp.cumsum(first, 0).T
    # Cached entries belong to the episode number 0, or to none.
    episode = jnp.concatenate([jnp.where(valid, 0, -1), begun], 1)
    place = jnp.arange(episode.shape[1])
    age = place[context:, None] - place
    return (begun[..., None] == episode[:, None]) & (age >= 0) & (age <= context), (episode == begun[:, -1:])[
        :, -context:
    ]


def _normalised(stream: Array) -> Array:
    """Layer normalisation without gain and bias, which the next projection can express."""
    centred = stream - stream.mean(-1, keepdims=True)
    return centred * jax.lax.rsqrt(jnp.square(centred).mean(-1, keepdims=True) + 1e-6)
