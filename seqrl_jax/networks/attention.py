"""A causal transformer whose carry is its cache of keys and values."""

from __future__ import annotations

from typing import Any, ClassVar, NamedTuple, Self

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array

from seqrl_jax.naming import require
from seqrl_jax.networks.base import Memory, cleared
from seqrl_jax.networks.layers import DENSE_INIT, Codes, Dense, InputDense, plain_layer_norm
from seqrl_jax.networks.position import sinusoids, times
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


class Block(nn.Module):
    """(stream [B, T, width], caches [B, C, width], visible [B, T, C + T]) -> the stream, and the caches after."""

    width: int
    heads: int
    expansion: int

    @nn.compact
    def __call__(self, stream: Array, keys: Array, values: Array, visible: Array) -> tuple[Array, tuple[Array, Array]]:
        linear = lambda size, name, bias=True: Dense(size, use_bias=bias, kernel_init=DENSE_INIT, name=name)
        context = keys.shape[1]
        query, key, value = jnp.split(
            linear(3 * self.width, "attention", bias=False)(plain_layer_norm()(stream)), 3, -1
        )
        keys, values = jnp.concatenate([keys, key], 1), jnp.concatenate([values, value], 1)
        by_head = lambda array: array.reshape(*array.shape[:2], self.heads, -1)
        mixed = jax.nn.dot_product_attention(by_head(query), by_head(keys), by_head(values), mask=visible[:, None])
        stream = self.joined(stream, linear(self.width, "mix", bias=False)(mixed.reshape(stream.shape)), "after_mix")
        hidden = nn.gelu(linear(self.expansion * self.width, "expand")(plain_layer_norm()(stream)))
        stream = self.joined(stream, linear(self.width, "contract")(hidden), "after_contract")
        return stream, (keys[:, -context:], values[:, -context:])

    def joined(self, stream: Array, update: Array, name: str) -> Array:
        """The stream with what a layer makes of it; name: of the place, for weights that stand there."""
        return stream + update


class Transformer(Memory):
    """Pre-norm blocks of attention over this step and the `context` steps before it, within the episode.

    Attributes:
        width: of the residual stream. heads: must divide width. layers: blocks. context: C, the steps that a step can
            look back. expansion: hidden width of each block's perceptron, in units of width.
    Source: Vaswani et al. (2017); Xiong et al. (2020) for the place of the normalisation.
    """

    width: Width = 32
    heads: Depth = 4
    layers: Depth = 1
    context: Count = 32
    expansion: Depth = 2

    block: ClassVar[type[Block]] = Block

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.width % self.heads == 0, "heads must divide width", width=self.width, heads=self.heads)

    @property
    def block_settings(self) -> dict[str, Any]:
        """The fields of each block."""
        return {"width": self.width, "heads": self.heads, "expansion": self.expansion}

    @nn.nowrap
    def for_horizon(self, horizon: int) -> Self:
        return self.clone(context=max(self.context, horizon))

    @nn.nowrap
    def initial_carry(self, batch: int) -> Cache:
        empty = jnp.zeros((batch, self.layers, self.context, self.width))
        return Cache(jnp.zeros(batch, jnp.int32), jnp.zeros((batch, self.context), bool), empty, empty)

    @nn.compact
    def unroll(self, carry: Cache, xs: Codes, firsts: Array) -> tuple[Cache, Array]:
        time = times(carry.time, firsts)
        visible, still_valid = _visible(carry.valid, firsts, self.context)
        by_layer = lambda cache: cache.swapaxes(0, 1)
        keys, values = cleared((carry.keys, carry.values), firsts[0])
        blocks = nn.scan(
            type(self).block,
            variable_axes={"params": 0},
            split_rngs={"params": True},
            in_axes=(0, 0, nn.broadcast),
            length=self.layers,
        )(**self.block_settings, name="blocks")
        embedded = InputDense(self.width, use_bias=False, name="embed")(xs)
        stream = (embedded + sinusoids(time, self.width)).swapaxes(0, 1)
        stream, (keys, values) = blocks(stream, by_layer(keys), by_layer(values), visible)
        return Cache(time[-1] + 1, still_valid, by_layer(keys), by_layer(values)), plain_layer_norm()(stream).swapaxes(
            0, 1
        )


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
    visible = (begun[..., None] == episode[:, None]) & (age >= 0) & (age <= context)
    return visible, (episode == begun[:, -1:])[:, -context:]
