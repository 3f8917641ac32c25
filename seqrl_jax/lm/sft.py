"""Supervised training: the likelihood of what the corpus says. Its model is the reference policy pi_0."""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jax import Array

from seqrl_jax.lm.base import token_log_probs
from seqrl_jax.lm.sampling import drawn_mask
from seqrl_jax.lm.tasks import LMTask
from seqrl_jax.lm.training import minimise
from seqrl_jax.naming import check
from seqrl_jax.networks.language_model import LanguageModel
from seqrl_jax.networks.module import Weights
from seqrl_jax.settings import Count, PositiveFloat


def cross_entropy(log_prob: Array, mask: Array) -> Array:
    """`-sum mask log pi / sum mask` in nats per token, of log_prob and mask [B, L]. Prompts are not learned."""
    return -jnp.sum(jnp.where(mask, log_prob, 0.0)) / jnp.maximum(mask.sum().astype(jnp.float32), 1)


@dataclass(frozen=True)
class Supervised:
    """Cross-entropy on a corpus that never repeats.

    Attributes: learning_rate: of Adam, falling to 0. updates: gradient steps. batch: completions in each.
    """

    learning_rate: PositiveFloat = 0.003
    updates: Count = 1500
    batch: Count = 128

    def __post_init__(self) -> None:
        check(self)

    def train(self, key: Array, model: LanguageModel, task: LMTask) -> tuple[Weights, Array]:
        """Weights of pi_0, and the loss of every update."""
        init_key, train_key = jax.random.split(key)

        def loss(weights: Weights, key: Array) -> Array:
            prompt_key, corpus_key = jax.random.split(key)
            prompt = task.draw_prompts(prompt_key, self.batch)
            tokens = jax.vmap(task.corpus)(jax.random.split(corpus_key, self.batch), prompt)
            return cross_entropy(token_log_probs(model, weights, prompt, tokens), drawn_mask(tokens, task.end))

        return minimise(loss, model.initial_weights(init_key), train_key, self.learning_rate, self.updates)
