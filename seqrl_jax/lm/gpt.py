"""A decoder-only transformer in GPT-2's layout: pre-norm blocks, learned positions, output tied to the embedding.

Source: Radford et al. (2019). Weights have GPT-2's shapes and names, but for the blocks: those are stacked along a
leading axis, so that a scan runs them and the program does not grow with depth.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from seqrl_jax.naming import check, require
from seqrl_jax.settings import Count, Depth, Dtype, Width

LAYER_NORM_EPSILON = 1e-5
INITIAL_DEVIATION = 0.02
UNROLLED = 2
"""Blocks in a turn of the loop over them: turns cost a small model on a CPU a tenth of its gradient."""


class Cache(NamedTuple):
    """keys, values: [layers, B, C, D] of what was read, in the first `length` places. length: int32."""

    keys: Array
    values: Array
    length: Array


@dataclass(frozen=True)
class GPT:
    """GPT-2 of any size.

    Attributes:
        vocabulary: V. context: C, the longest text. width: D. layers, heads: heads must divide width.
        dtype: of the products; `bfloat16` for accelerators. Weights, norms, logits and the softmax stay in float32.
        remat: recompute each block's activations in the backward pass instead of keeping them.
    """

    vocabulary: Count
    context: Count
    width: Width = 32
    layers: Depth = 2
    heads: Depth = 4
    dtype: Dtype = "float32"
    remat: bool = False

    def __post_init__(self) -> None:
        check(self)
        require(self.width % self.heads == 0, "heads must divide width", width=self.width, heads=self.heads)

    def init(self, key: Array) -> Any:
        embed_key, position_key, block_key = jax.random.split(key, 3)
        normal = lambda key, *shape: INITIAL_DEVIATION * jax.random.normal(key, shape)
        width = self.width
        norm = {"weight": jnp.ones(width), "bias": jnp.zeros(width)}
        # What is added to the stream grows with depth, unless each block adds less (Radford et al., 2019, sec. 2.3).
        residual = (2 * self.layers) ** -0.5

        def block(key: Array) -> Any:
            keys = jax.random.split(key, 4)
            linear = lambda key, into, out, scale=1.0: {
                "weight": scale * normal(key, into, out),
                "bias": jnp.zeros(out),
            }
            return {
                "ln_1": norm,
                "attn": {
                    "c_attn": linear(keys[0], width, 3 * width),
                    "c_proj": linear(keys[1], width, width, residual),
                },
                "ln_2": norm,
                "mlp": {
                    "c_fc": linear(keys[2], width, 4 * width),
                    "c_proj": linear(keys[3], 4 * width, width, residual),
                },
            }

        return {
            "wte": {"weight": normal(embed_key, self.vocabulary, width)},
            "wpe": {"weight": normal(position_key, self.context, width)},
            "h": jax.vmap(block)(jax.random.split(block_key, self.layers)),
            "ln_f": norm,
        }

    def initialise(self, weights: Any, batch: int, length: int) -> Cache:
        self._check(length)
        empty = jnp.zeros((self.layers, batch, length, self.width), self.dtype)
        return Cache(empty, empty, jnp.int32(0))

    def read(self, weights: Any, carry: Cache, tokens: Array) -> tuple[Cache, Array]:
        place = carry.length + jnp.arange(tokens.shape[1])
        visible = jnp.arange(carry.keys.shape[2]) <= place[:, None]

        def block(stream: Array, layer: tuple[Any, Array, Array]) -> tuple[Array, tuple[Array, Array]]:
            weights, keys, values = layer
            query, key, value = self._query_key_value(weights, stream)
            put = lambda cache, new: jax.lax.dynamic_update_slice_in_dim(cache, new, carry.length, 1)
            keys, values = put(keys, key), put(values, value)
            return self._behind_attention(weights, stream, self._attend(query, keys, values, visible)), (keys, values)

        stream, (keys, values) = jax.lax.scan(
            block, self._embedded(weights, tokens, place), (weights["h"], carry.keys, carry.values)
        )
        return Cache(keys, values, carry.length + tokens.shape[1]), _norm(weights["ln_f"], stream)

    def hidden(self, weights: Any, tokens: Array) -> Array:
        length = tokens.shape[1]
        self._check(length)
        visible = jnp.tril(jnp.ones((length, length), bool))

        def block(stream: Array, weights: Any) -> tuple[Array, None]:
            mixed = self._attend(*self._query_key_value(weights, stream), visible)
            return self._behind_attention(weights, stream, mixed), None

        run = jax.checkpoint(block) if self.remat else block
        start = self._embedded(weights, tokens, jnp.arange(length))
        stream, _ = jax.lax.scan(run, start, weights["h"], unroll=UNROLLED)
        return _norm(weights["ln_f"], stream)

    def logits(self, weights: Any, hidden: Array) -> Array:
        embedding = weights["wte"]["weight"].astype(self.dtype)
        return jnp.einsum("...d,vd->...v", hidden.astype(self.dtype), embedding, preferred_element_type=jnp.float32)

    def _check(self, length: int) -> None:
        if length > self.context:
            raise ValueError(f"a text of {length} tokens is longer than the model's context of {self.context}")

    def _embedded(self, weights: Any, tokens: Array, place: Array) -> Array:
        return weights["wte"]["weight"][tokens] + weights["wpe"]["weight"][place]

    def _query_key_value(self, weights: Any, stream: Array) -> tuple[Array, Array, Array]:
        query, key, value = jnp.split(self._linear(weights["attn"]["c_attn"], _norm(weights["ln_1"], stream)), 3, -1)
        return query, key, value

    def _attend(self, query: Array, keys: Array, values: Array, visible: Array) -> Array:
        """[B, T, D] from queries [B, T, D], keys and values [B, S, D], where visible [T, S]."""
        apart = lambda array: array.reshape(*array.shape[:2], self.heads, -1)
        query, keys, values = apart(query), apart(keys), apart(values)
        scores = jnp.einsum("bthd,bshd->bhts", query, keys, preferred_element_type=jnp.float32)
        scores = jnp.where(visible, scores * query.shape[-1] ** -0.5, -jnp.inf)
        share = jax.nn.softmax(scores).astype(self.dtype)
        mixed = jnp.einsum("bhts,bshd->bthd", share, values)
        return mixed.reshape(*mixed.shape[:2], self.width)

    def _behind_attention(self, weights: Any, stream: Array, mixed: Array) -> Array:
        stream = stream + self._linear(weights["attn"]["c_proj"], mixed).astype(jnp.float32)
        hidden = jax.nn.gelu(self._linear(weights["mlp"]["c_fc"], _norm(weights["ln_2"], stream)))
        return stream + self._linear(weights["mlp"]["c_proj"], hidden).astype(jnp.float32)

    def _linear(self, weights: Any, x: Array) -> Array:
        out = x.astype(self.dtype) @ weights["weight"].astype(self.dtype)
        return out + weights["bias"].astype(self.dtype)


def _norm(weights: Any, x: Array) -> Array:
    centred = x - x.mean(-1, keepdims=True)
    scaled = centred * jax.lax.rsqrt(jnp.square(centred).mean(-1, keepdims=True) + LAYER_NORM_EPSILON)
    return scaled * weights["weight"] + weights["bias"]
