"""Functions of one observation: a table, or a small multilayer perceptron."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array

from seqrl_jax.tasks.environment import Box, Discrete

KINDS = ("tabular", "mlp")


class ObservationFunction(nn.Module):
    """[..., obs] -> [..., outputs].

    `tabular` is linear in the features and starts at zero: one free number per observation and output. `mlp` has two
    hidden layers of `width` tanh units. Initialisers are elementwise: orthogonal ones call LAPACK, which must not run
    under `vmap` on a CPU.
    """

    outputs: int
    kind: str
    width: int
    space: Discrete | Box

    @nn.compact
    def __call__(self, obs: Array) -> Array:
        hidden = features(obs, self.space)
        if self.kind == "mlp":
            for _ in range(2):
                hidden = jnp.tanh(nn.Dense(self.width, kernel_init=nn.initializers.lecun_normal())(hidden))
        elif self.kind != "tabular":
            raise ValueError(f"network is {self.kind!r}, expected one of {', '.join(KINDS)}")
        return nn.Dense(self.outputs, use_bias=self.kind == "mlp", kernel_init=nn.initializers.zeros)(hidden)


def outputs(network: ObservationFunction, weights: Any, obs: Array) -> Array:
    """The network's outputs [..., outputs] at observations [..., obs]."""
    return jnp.asarray(network.apply(weights, obs))


def features(obs: Array, space: Discrete | Box) -> Array:
    """One-hot codes of integer observations, flat vectors of arrays: [..., F] float32."""
    if isinstance(space, Discrete):
        return jax.nn.one_hot(obs, space.size)
    return obs.reshape(*obs.shape[: obs.ndim - len(space.shape)], -1).astype(jnp.float32)


def masked(logits: Array, action_mask: Array) -> Array:
    """Logits [..., A] in which the actions that the task lacks have no probability."""
    return jnp.where(action_mask, logits, -1e9)


def once_per_observation(function: Callable[[Array], Array], space: Discrete | Box) -> Callable[[Array], Array]:
    """The same function, tabulated where observations are integers: for rollouts, in which the weights stay fixed."""
    if isinstance(space, Box):
        return function
    table = function(jnp.arange(space.size))
    return lambda obs: table[obs]


def sample(key: Array, logits: Array) -> Array:
    """Actions [...] drawn from softmax(logits [..., A]), one random number each: the inverse of the cumulative law.

    `jax.random.categorical` draws A numbers and takes their logarithms, which would be most of the cost of acting.
    """
    cumulative = jnp.cumsum(jax.nn.softmax(logits), -1)
    draw = jax.random.uniform(key, logits.shape[:-1]) * cumulative[..., -1]
    return jnp.sum(draw[..., None] >= cumulative[..., :-1], -1, dtype=jnp.int32)
