"""A decoder-only transformer in GPT-2's layout: pre-norm blocks, learned positions, output tied to the embedding unless
that is turned off.

Source: Radford et al. (2019). Modules bear GPT-2's names. Weights of the blocks are stacked along a leading axis, so
that a scan runs them and the program does not grow with depth.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from operator import itemgetter
from typing import Annotated, Any, Literal, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array
from msgspec import Meta

from seqrl_jax.naming import convert, require
from seqrl_jax.networks.causal import attention, causal_attention
from seqrl_jax.networks.language_model import LanguageModel
from seqrl_jax.networks.layers import Dense
from seqrl_jax.networks.module import Weights
from seqrl_jax.settings import AttentionKernel, Count, Depth, Dtype, Width

Activation = Literal["gelu_new", "gelu_pytorch_tanh", "gelu_fast", "gelu", "relu", "silu", "swish"]
"""By its name in `transformers`: GELU by tanh under three names, exactly as `gelu`; SiLU under two."""
ACTIVATIONS: dict[Activation, Callable[[Array], Array]] = {
    "gelu_new": nn.gelu,
    "gelu_pytorch_tanh": nn.gelu,
    "gelu_fast": nn.gelu,
    "gelu": partial(nn.gelu, approximate=False),
    "relu": nn.relu,
    "silu": nn.silu,
    "swish": nn.silu,
}
LayerNormEpsilon = Annotated[float, Meta(ge=1e-30, le=1e6)]
"""Added to a variance. Much smaller numbers are 0 in single precision."""
INITIAL_DEVIATION = 0.02
WRITTEN_OUT = 8
"""So many blocks are no loop at all: one that keeps what its gradient needs costs a CPU up to a quarter of that."""
UNROLLED = 2
"""Blocks in a turn of the loop over more of them; more in a turn only take longer to compile."""


KeysValues = tuple[Array, Array]
"""Of a layer, [B, heads, C, D / heads] each."""


class Cache(NamedTuple):
    """layers: keys and values of what was read, in the first `length` places. length: int32. begins: [B], the place at
    which each text begins.

    Layers are arrays of their own, and heads stand before places: then a token is written where the cache lies, and
    products read it there. In one array of all layers each token would copy the whole of it.
    """

    layers: tuple[KeysValues, ...]
    length: Array
    begins: Array


class GPT(LanguageModel):
    """GPT-2 of any size.

    Attributes:
        vocabulary: V. context: C, the longest text. width: D. layers, heads: heads must divide width.
        dtype: of the products; `bfloat16` for accelerators. Weights, norms, logits and the softmax stay in float32.
        remat: recompute each block's activations in the backward pass instead of keeping them.
        attention: what computes it over whole texts. `cudnn`, which needs an NVIDIA device and half precision, never
            writes the [T, T] weights to memory.
        activation: between the layers of each perceptron. layer_norm_epsilon: of all layer norms.
        tied: whether logits are products with the embedding; otherwise with `lm_head` [V, D], weights of their own.
    """

    context: Count
    width: Width = 32
    layers: Depth = 2
    heads: Depth = 4
    dtype: Dtype = "float32"
    remat: bool = False
    attention: AttentionKernel = "xla"
    activation: Activation = "gelu_new"
    layer_norm_epsilon: LayerNormEpsilon = 1e-5
    tied: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        convert("layer_norm_epsilon", LayerNormEpsilon, repr(self.layer_norm_epsilon))
        require(self.width % self.heads == 0, "heads must divide width", width=self.width, heads=self.heads)
        if self.attention == "cudnn":
            require(self.dtype == "bfloat16", "cudnn needs bfloat16", attention=self.attention, dtype=self.dtype)
            whole = self.width // self.heads % 8 == 0
            require(whole, "cudnn needs a multiple of 8 in each head", width=self.width, heads=self.heads)

    def setup(self) -> None:
        init = nn.initializers.normal(INITIAL_DEVIATION)
        blocks = nn.scan(
            nn.remat(Block) if self.remat else Block,
            variable_axes={"params": 0},
            split_rngs={"params": True},
            in_axes=nn.broadcast,
            length=self.layers,
            unroll=self.layers if self.layers <= WRITTEN_OUT else UNROLLED,
            # Nothing is broadcast that the loop could change; checking that would trace every block twice.
            check_constancy_invariants=False,
        )
        self.wte = nn.Embed(self.vocabulary, self.width, embedding_init=init)
        self.wpe = nn.Embed(self.context, self.width, embedding_init=init)
        self.h = blocks(*self._block_settings)
        self.ln_f = nn.LayerNorm(self.layer_norm_epsilon)
        if not self.tied:
            self.lm_head = self.param("lm_head", init, (self.vocabulary, self.width))

    @nn.nowrap
    def initial_carry(self, batch: int, length: int) -> Cache:
        self._check(length)
        empty = lambda: jnp.zeros((batch, self.heads, length, self.width // self.heads), self.dtype)
        layers = tuple((empty(), empty()) for _ in range(self.layers))
        return Cache(layers, jnp.int32(0), jnp.zeros(batch, jnp.int32))

    def hidden(self, tokens: Array, segment_ids: Array | None = None) -> Array:
        """segment_ids: [B, T] numbers of the texts of a packed row, which lie one after another: each is read as if it
        stood alone, from the first position on and without a view of the others."""
        self._check(tokens.shape[1])
        stream, visible = self.wte(tokens), None
        if segment_ids is None:
            stream += self.wpe.embedding[: tokens.shape[1]]
        else:
            stream += self.wpe(positions_within(segment_ids))
            visible = (segment_ids[:, :, None] == segment_ids[:, None])[:, None]
        stream, _ = self.h(stream, visible)
        return self.ln_f(stream)

    def read(self, carry: Cache, tokens: Array, begins: Array | None = None) -> tuple[Cache, Array]:
        begins = carry.begins if begins is None else begins
        places = carry.length + jnp.arange(tokens.shape[1])
        stream = self.wte(tokens) + self.wpe.embedding[jnp.maximum(places - begins[:, None], 0)]
        slots = jnp.arange(carry.layers[0][0].shape[2])
        seen = (slots <= places[:, None]) & (slots >= begins[:, None, None])
        block: Any = Block(*self._block_settings, parent=None)
        layers = list[KeysValues]()
        for number, cache in enumerate(carry.layers):
            weights = jax.tree.map(itemgetter(number), self.h.variables)
            stream, written = block.apply(weights, stream, cache, carry.length, seen[:, None], method="read")
            layers.append(written)
        return Cache(tuple(layers), carry.length + tokens.shape[1], begins), self.ln_f(stream)

    def logits(self, hidden: Array) -> Array:
        # `Embed.attend` would round them to `dtype`.
        rows = (self.wte.embedding if self.tied else self.lm_head).astype(self.dtype)
        return jnp.einsum("...d,vd->...v", hidden.astype(self.dtype), rows, preferred_element_type=jnp.float32)

    @property
    def _block_settings(self) -> tuple[Any, ...]:
        """The fields of `Block`."""
        # What is added to the stream grows with depth, unless each block adds less (Radford et al., 2019, sec. 2.3).
        deviation = INITIAL_DEVIATION * (2 * self.layers) ** -0.5
        return (
            self.width,
            self.heads,
            self.dtype,
            deviation,
            self.attention,
            self.activation,
            self.layer_norm_epsilon,
        )

    @nn.nowrap
    def last_block(self, weights: Weights) -> Weights:
        return jax.tree.map(lambda leaf: leaf[-1], weights["params"]["h"])

    @nn.nowrap
    def with_last_block(self, weights: Weights, block: Weights) -> Weights:
        blocks = jax.tree.map(lambda leaf, last: leaf.at[-1].set(last), weights["params"]["h"], block)
        return {"params": {**weights["params"], "h": blocks}}

    @nn.nowrap
    def _check(self, length: int) -> None:
        if length > self.context:
            raise ValueError(f"a text of {length} tokens is longer than the model's context of {self.context}")


def positions_within(segment_ids: Array) -> Array:
    """[B, T]: the place of each token in its own text, from 0; segment_ids [B, T] as of `GPT.hidden`."""
    places = jnp.arange(segment_ids.shape[1])
    begins = jnp.concatenate([jnp.ones_like(segment_ids[:, :1], bool), segment_ids[:, 1:] != segment_ids[:, :-1]], 1)
    return places - jax.lax.cummax(jnp.where(begins, places, 0), axis=1)


class Block(nn.Module):
    """A layer, as one turn of the scan over all of them: streams [B, T, D]."""

    width: int
    heads: int
    dtype: str
    residual_deviation: float
    attention: AttentionKernel
    activation: Activation
    layer_norm_epsilon: float

    def setup(self) -> None:
        self.ln_1, self.ln_2 = nn.LayerNorm(self.layer_norm_epsilon), nn.LayerNorm(self.layer_norm_epsilon)
        self.attn = Attention(self.width, self.heads, self.dtype, self.residual_deviation, self.attention)
        self.mlp = Perceptron(self.width, self.dtype, self.residual_deviation, self.activation)

    def __call__(self, stream: Array, visible: Array | None) -> tuple[Array, None]:
        """visible: as of `Attention`."""
        return self._behind_attention(stream, self.attn(self.ln_1(stream), visible)), None

    def read(self, stream: Array, cache: KeysValues, start: Array, seen: Array) -> tuple[Array, KeysValues]:
        """The same behind what is in the cache.

        Args: start: the place of the first of these tokens. seen: [B, 1, T, C], to which places each attends.
        Returns: also the cache with these tokens.
        """
        mixed, cache = self.attn.read(self.ln_1(stream), cache, start, seen)
        return self._behind_attention(stream, mixed), cache

    def _behind_attention(self, stream: Array, mixed: Array) -> Array:
        stream = stream + mixed.astype(jnp.float32)
        return stream + self.mlp(self.ln_2(stream)).astype(jnp.float32)


class Attention(nn.Module):
    """Causal attention of tokens [B, T, D] over themselves and those before them."""

    width: int
    heads: int
    dtype: str
    residual_deviation: float
    kernel: AttentionKernel

    def setup(self) -> None:
        self.c_attn = linear(3 * self.width, self.dtype, INITIAL_DEVIATION)
        self.c_proj = linear(self.width, self.dtype, self.residual_deviation)

    def __call__(self, x: Array, visible: Array | None) -> Array:
        """visible: [B, 1, T, T], which tokens each may attend to among itself and those before it; None is all."""
        query, key, value = self._by_head(x)
        if self.kernel == "xla":
            return self._joined(causal_attention(query, key, value, visible))
        of_jax = partial(jax.nn.dot_product_attention, is_causal=True, implementation=self.kernel)
        mixed = of_jax(*(array.swapaxes(1, 2) for array in (query, key, value)), mask=visible)
        return self._joined(mixed.swapaxes(1, 2))

    def read(self, x: Array, cache: KeysValues, start: Array, seen: Array) -> tuple[Array, KeysValues]:
        """As of `Block.read`."""
        query, key, value = self._by_head(x)
        put = lambda cached, new: jax.lax.dynamic_update_slice_in_dim(cached, new, start, 2)
        keys, values = put(cache[0], key), put(cache[1], value)
        return self._joined(attention(query, keys, values, seen)), (keys, values)

    def _by_head(self, x: Array) -> list[Array]:
        """Query, key and value, [B, heads, T, D / heads] each."""
        every = self.c_attn(x).reshape(*x.shape[:2], 3, self.heads, -1)
        return [every[:, :, part].swapaxes(1, 2) for part in range(3)]

    def _joined(self, mixed: Array) -> Array:
        """[B, T, D] of values by head [B, heads, T, D / heads]."""
        by_place = mixed.swapaxes(1, 2)
        return self.c_proj(by_place.reshape(*by_place.shape[:2], -1))


class Perceptron(nn.Module):
    """Two layers, four times as wide between them: [..., D] -> [..., D]."""

    width: int
    dtype: str
    residual_deviation: float
    activation: Activation

    def setup(self) -> None:
        self.c_fc = linear(4 * self.width, self.dtype, INITIAL_DEVIATION)
        self.c_proj = linear(self.width, self.dtype, self.residual_deviation)

    def __call__(self, x: Array) -> Array:
        return self.c_proj(ACTIVATIONS[self.activation](self.c_fc(x)))


def linear(size: int, dtype: str, deviation: float) -> Dense:
    """A linear layer with GPT-2's initialisation."""
    return Dense(size, dtype=dtype, kernel_init=nn.initializers.normal(deviation))
