"""Layers that networks are made of, and how their weights begin."""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array

Codes = tuple[Array, ...]
"""What a network reads, [..., I_k] each, of norm about one together. They stand apart because each may be padded."""

DENSE_INIT = nn.initializers.variance_scaling(1.0, "fan_in", "normal")
"""Of layers whose inputs have a variance of one each, which it keeps. Drawn elementwise: a batched orthogonal
initialiser deadlocks on two cores."""


def input_init(key: Array, shape: tuple[int, ...], dtype: Any = jnp.float32) -> Array:
    """Of first layers [..., I, F], whose inputs have a norm of one together (see `Encoder`): standard normal numbers.

    Each row is drawn by its own index, so that inputs padded at their end find the same for what they had before.
    """
    *_, rows, _ = shape
    row = lambda number: jax.random.normal(jax.random.fold_in(key, number), (*shape[:-2], shape[-1]), dtype)
    return jnp.moveaxis(jax.vmap(row)(jnp.arange(rows)), 0, -2)


def product(x: Array, kernel: Array) -> Array:
    """`x kernel`: x [..., I], kernel [I, F] -> [..., F].

    All that stands before the features is one axis meanwhile: for the gradient by the kernel, which jax turns around,
    XLA copies what is multiplied if there are several. On a CPU that is a tenth to a half of a training step's time.
    """
    rows = x.reshape(-1, x.shape[-1]) @ kernel
    return rows.reshape(*x.shape[:-1], kernel.shape[-1])


def _dot_general(x: Array, kernel: Array, dimensions: Any, precision: None = None) -> Array:
    """`product`, as flax asks for it."""
    return product(x, kernel)


class Dense(nn.Dense):
    """flax's linear layer over `product`."""

    dot_general: Any = _dot_general


class InputDense(nn.Module):
    """A linear layer over codes, with a kernel of its own for each of them: [..., features]."""

    features: int
    use_bias: bool = True

    @nn.compact
    def __call__(self, xs: Codes) -> Array:
        kernels = [self.param(f"kernel_{k}", input_init, (x.shape[-1], self.features)) for k, x in enumerate(xs)]
        out = product(jnp.concatenate(xs, -1), jnp.concatenate(kernels))
        return out + self.param("bias", nn.initializers.zeros, (self.features,)) if self.use_bias else out


def output_init(key: Array, shape: tuple[int, int], dtype: Any = jnp.float32) -> Array:
    """Of last layers [I, F] whose outputs may be padded: as `DENSE_INIT`, each column drawn by its own index."""
    return input_init(key, shape[::-1], dtype).T * shape[0] ** -0.5


def plain_layer_norm() -> nn.LayerNorm:
    """Layer normalisation without gain and bias, which the layer behind it can express."""
    return nn.LayerNorm(use_bias=False, use_scale=False, use_fast_variance=False)
