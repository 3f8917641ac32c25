"""People who compare answers, simulated: they follow the gold reward, with doubt, noise and a liking for length."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from msgspec import Meta

from seqrl_jax.lm.sampling import drawn_mask
from seqrl_jax.lm.tasks import LMTask
from seqrl_jax.settings import Number


class Rankings(NamedTuple):
    """M prompts [M, P] with K completions each [M, K, L], the best liked first. Pairs are K = 2."""

    prompt: Array
    tokens: Array

    @property
    def chosen(self) -> Array:
        """[M, L]"""
        return self.tokens[:, 0]

    @property
    def rejected(self) -> Array:
        """[M, L]: the least liked."""
        return self.tokens[:, -1]


@dataclass(frozen=True)
class Labeller:
    """Ranks by the law of Plackett and Luce, `P(y_1 > ... > y_K) = prod_i exp(u_i) / sum_{j >= i} exp(u_j)`.

    For two completions that is Bradley and Terry's `sigmoid(u_1 - u_2)`.

    Attributes:
        noise: chance that a pair's label is turned around: with twice this probability the answer is a random one.
        length_bias: what each token adds to u beside the gold reward; None: what the task says.
    """

    noise: Annotated[float, Meta(ge=0, le=0.5)] = 0.0
    length_bias: Number | None = None

    def bias(self, task: LMTask) -> float:
        """What each token adds."""
        return task.length_bias if self.length_bias is None else self.length_bias

    def is_faithful(self, task: LMTask) -> bool:
        """Whether labels follow the gold reward alone."""
        return self.noise == 0 and self.bias(task) == 0

    def worth(self, task: LMTask, prompt: Array, tokens: Array) -> Array:
        """u [B] of completions [B, L] behind prompts [B, P]."""
        spoken = drawn_mask(tokens, task.end).sum(-1).astype(jnp.float32)
        return task.rewards(prompt, tokens) + self.bias(task) * spoken

    def rank(self, key: Array, task: LMTask, prompt: Array, tokens: Array) -> Rankings:
        """Completions [M, K, L] behind prompts [M, P], put in order.

        Sorting by u + Gumbel noise draws from the law of Plackett and Luce (Yellott, 1977).
        """
        gumbel_key, random_key = jax.random.split(key)
        worth = jax.vmap(lambda column: self.worth(task, prompt, column), in_axes=1, out_axes=1)(tokens)
        at_random = jax.random.bernoulli(random_key, 2 * self.noise, (len(prompt), 1))
        perceived = jnp.where(at_random, 0.0, worth) + jax.random.gumbel(gumbel_key, worth.shape)
        order = jnp.argsort(-perceived, axis=1)
        return Rankings(prompt, jnp.take_along_axis(tokens, order[..., None], 1))
