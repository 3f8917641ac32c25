"""What every network of an agent needs: codes of observations, masked actions, draws."""

from __future__ import annotations

import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax import Array

from seqrl_jax.memory.base import Block, dense, kernel, numbered
from seqrl_jax.tasks.environment import Discrete, Space


def features(obs: Array, space: Space) -> Array:
    """One-hot codes of integer observations, flat vectors of arrays: [..., F] float32."""
    if isinstance(space, Discrete):
        return jax.nn.one_hot(obs, space.size)
    return obs.reshape(*obs.shape[: obs.ndim - len(space.shape)], -1).astype(jnp.float32)


def blocks(space: Space) -> tuple[Block, ...]:
    """The blocks of `features`."""
    if isinstance(space, Discrete):
        return (Block(space.size, 1),)
    return tuple(Block(*block) for block in space.blocks) or dense(math.prod(space.shape))


def layers(key: Array, inputs: Sequence[Block], *sizes: int) -> list[dict[str, Array]]:
    """Weights of a chain of linear layers, from inputs of these blocks to outputs of these sizes, for `through`.

    A row of the weights belongs to an output: a layer with room for more outputs draws the same for what it had before.
    """
    weights = []
    for layer_key, out in zip(jax.random.split(key, len(sizes)), sizes, strict=True):
        by_output = jax.vmap(lambda key, into=inputs: kernel(key, into, 1)[:, 0])(numbered(layer_key, out))
        weights.append({"kernel": by_output.T, "bias": jnp.zeros(out)})
        inputs = dense(out)
    return weights


def through(weights: list[dict[str, Array]], x: Array) -> Array:
    """The chain, tanh between its layers: [..., I] -> [..., O]."""
    *hidden, last = weights
    for layer in hidden:
        x = jnp.tanh(x @ layer["kernel"] + layer["bias"])
    return x @ last["kernel"] + last["bias"]


def masked(logits: Array, action_mask: Array) -> Array:
    """Logits [..., A] in which what the task lacks (actions, or observations) has no probability."""
    return jnp.where(action_mask, logits, -1e9)


def uniform(action_mask: Array) -> Array:
    """[..., A]: the same probability for every action that the mask allows."""
    allowed = action_mask.astype(jnp.float32)
    return allowed / allowed.sum(-1, keepdims=True)


def of_action(table: Array, action: Array) -> Array:
    """The entries [...] of [..., A] at these actions [...]."""
    return jnp.take_along_axis(table, action[..., None], -1)[..., 0]


def draw(key: Array, law: Array) -> Array:
    """Outcomes [...] with probabilities in proportion to law [..., A], from one random number each.

    The inverse of the cumulative law: `jax.random.categorical` draws A numbers and takes their logarithms, which would
    be most of the cost of acting.
    """
    cumulative = jnp.cumsum(law, -1)
    at = jax.random.uniform(key, law.shape[:-1]) * cumulative[..., -1]
    return jnp.sum(at[..., None] >= cumulative[..., :-1], -1, dtype=jnp.int32)


def sample(key: Array, logits: Array) -> Array:
    """Actions [...] drawn from softmax(logits [..., A])."""
    return draw(key, jax.nn.softmax(logits))
