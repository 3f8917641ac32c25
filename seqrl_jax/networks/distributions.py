"""Distributions over finitely many outcomes, for policies and language models alike."""

from __future__ import annotations

import distrax
import jax
import jax.numpy as jnp
from jax import Array


class Categorical(distrax.Categorical):
    """distrax's, drawn from one uniform number each, and with outcomes that are impossible.

    Drawing is the inverse of the cumulative distribution: `jax.random.categorical` draws a number for every outcome
    and takes two logarithms of each, which would be most of the cost of acting. An impossible outcome is never drawn,
    and takes no part in entropies, divergences and gradients.

    Args: logits: [..., A]. mask: [..., A] bool, False where an outcome is impossible; not everywhere.
    """

    def __init__(self, logits: Array, mask: Array | None = None) -> None:
        super().__init__(logits if mask is None else masked(logits, mask), dtype=jnp.int32)

    def log_prob(self, value: Array) -> Array:
        """[...] of outcomes [...] in 0 ... A - 1: distrax also answers for others, at the cost of a one-hot code."""
        return jnp.take_along_axis(self.logits, value[..., None], -1)[..., 0]

    def entropy(self) -> Array:
        """[...]: no logit is infinite, so that no product has to be guarded."""
        return -jnp.sum(jnp.exp(self.logits) * self.logits, -1)

    def _sample_n(self, key: Array, n: int) -> Array:
        cumulative = jnp.cumsum(jnp.exp(self.logits), -1)  # distrax keeps logits normalised
        # At most (1 - 2^-23) of the sum, which is rounded to less than it: never an outcome without probability.
        at = jax.random.uniform(key, (n, *cumulative.shape[:-1])) * cumulative[..., -1]
        return jnp.sum(at[..., None] >= cumulative[..., :-1], -1, dtype=jnp.int32)


def masked_categorical(logits: Array, mask: Array) -> Categorical:
    """The distribution of outcomes [...] with logits [..., A] among those that the mask allows."""
    return Categorical(logits, mask)


def masked(logits: Array, mask: Array) -> Array:
    """Logits or values [..., A], where the mask is False so low that their probability is 0 and nothing is lower.

    They stay finite: an infinite one times a probability of 0 would be no number.
    """
    return jnp.where(mask, logits, -1e9)


def uniform(mask: Array, *batch: int) -> Categorical:
    """The same probability for every outcome that the mask [..., A] allows, for a batch [*batch, ...] of draws."""
    return Categorical(jnp.zeros((*batch, *mask.shape)), mask)


class Greedy(distrax.Categorical):
    """The outcome of the largest value, the first of equals (`distrax.Greedy` draws among them).

    Args: values: [..., A]. mask: [A] bool, False where an outcome is impossible.
    """

    def __init__(self, values: Array, mask: Array) -> None:
        self._best = jnp.argmax(masked(values, mask), -1).astype(jnp.int32)
        super().__init__(probs=jax.nn.one_hot(self._best, mask.shape[-1]), dtype=jnp.int32)

    def mode(self) -> Array:
        """[...] int32."""
        return self._best
