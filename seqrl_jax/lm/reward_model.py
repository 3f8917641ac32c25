"""Reward models: what rankings say a completion is worth.

    P(y_1 > ... > y_K | x) = prod_i exp(r(x, y_i)) / sum_{j >= i} exp(r(x, y_j))

fitted by maximum likelihood (Ouyang et al., 2022, eq. 1 for pairs), on a language model with a scalar head at the last
token, or on counts of words and of pairs of words. Rankings leave r(x, .) open up to a constant, and training leaves
its scale to chance: it is put to mean 0 and deviation 1 under pi_0 (ibid., app. C).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from seqrl_jax.lm.base import LanguageModel, Reward
from seqrl_jax.lm.gpt import GPT
from seqrl_jax.lm.labels import Rankings
from seqrl_jax.lm.sampling import drawn_mask, sample
from seqrl_jax.lm.tasks import LMTask
from seqrl_jax.lm.training import minimise
from seqrl_jax.naming import check
from seqrl_jax.settings import Count, PositiveFloat, Weight


def plackett_luce(reward: Array) -> Array:
    """`-log P(y_1 > ... > y_K)` of rewards [M, K] in the order of the ranking, mean over M. K = 2: Bradley-Terry."""
    later = jax.lax.cumlogsumexp(reward, axis=1, reverse=True)
    return jnp.mean(jnp.sum(later - reward, 1))


class Fitted(NamedTuple):
    """Weights of every member [E, ...], and the mean and deviation [E] that its scores have under pi_0."""

    weights: Any
    mean: Array
    deviation: Array


@dataclass(frozen=True)
class RewardModel:
    """An ensemble of reward models.

    Attributes:
        features: what a score is linear in: counts of words (`unigram`), also of neighbouring pairs (`bigram`), or the
            hidden state of a `model` at the last token.
        trained: of a `model`: the `head` on a frozen body, also the `last_block`, the `full` model, from pi_0's
            weights; or the full model from `scratch`.
        members: E, differing in their seeds. pessimistic: the smallest score of the members instead of their mean.
        learning_rate: of Adam, falling to 0. updates: gradient steps. batch: rankings in each.
        decay: weight of the squared weights, of counted features only.
    """

    features: Literal["unigram", "bigram", "model"] = "model"
    trained: Literal["head", "last_block", "full", "scratch"] = "full"
    members: Count = 1
    pessimistic: bool = False
    learning_rate: PositiveFloat = 0.003
    updates: Count = 2000
    batch: Count = 128
    decay: Weight = 1e-4

    def __post_init__(self) -> None:
        check(self)

    def train(
        self, key: Array, model: LanguageModel, task: LMTask, reference: Any, rankings: Rankings
    ) -> tuple[Fitted, Array]:
        """The fitted ensemble and its losses [E, updates], from rankings and the weights of pi_0."""
        fit = lambda key: self._fit(key, model, task, reference, rankings)
        return jax.vmap(fit)(jax.random.split(key, self.members))

    def reward(self, model: LanguageModel, task: LMTask, fitted: Fitted) -> Reward:
        """The reward that the ensemble stands for."""

        def reward(prompt: Array, tokens: Array) -> Array:
            raw = jax.vmap(lambda weights: self.score(model, task, weights, prompt, tokens))(fitted.weights)
            each = (raw - fitted.mean[:, None]) / fitted.deviation[:, None]
            return each.min(0) if self.pessimistic else each.mean(0)

        return reward

    def score(self, model: LanguageModel, task: LMTask, weights: Any, prompt: Array, tokens: Array) -> Array:
        """One member's raw scores [B]."""
        if self.features == "model":
            hidden = model.hidden(weights["body"], jnp.concatenate([prompt, tokens], 1))
            last = prompt.shape[1] - 1 + drawn_mask(tokens, task.end).sum(1)
            return jnp.take_along_axis(hidden, last[:, None, None], 1)[:, 0] @ weights["head"]
        return jnp.sum(counts(tokens, task, self.features) * weights["linear"][self._row(task, prompt)], -1)

    def _fit(
        self, key: Array, model: LanguageModel, task: LMTask, reference: Any, rankings: Rankings
    ) -> tuple[Fitted, Array]:
        init_key, train_key, prompt_key, sample_key = jax.random.split(key, 4)
        start = self._start(init_key, model, task, reference)

        def loss(trained: Any, key: Array) -> Array:
            weights = self._whole(model, start, trained)
            drawn = jax.random.randint(key, (self.batch,), 0, len(rankings.prompt))
            prompt, tokens = rankings.prompt[drawn], rankings.tokens[drawn]
            answers = tokens.shape[1]
            flat = tokens.reshape(-1, tokens.shape[-1])
            raw = self.score(model, task, weights, jnp.repeat(prompt, answers, 0), flat).reshape(-1, answers)
            penalty = 0.0 if self.features == "model" else self.decay * jnp.sum(jnp.square(weights["linear"]))
            return plackett_luce(raw) + penalty

        trained, losses = minimise(loss, self._trained(model, start), train_key, self.learning_rate, self.updates)
        weights = self._whole(model, start, trained)
        every = jnp.asarray(task.prompts, jnp.int32)
        prompt = every[jax.random.randint(prompt_key, (NORMALISED_BY,), 0, len(every))]
        drawn = sample(model, reference, sample_key, prompt, task.length, task.end)
        raw = self.score(model, task, weights, prompt, drawn.tokens)
        return Fitted(weights, raw.mean(), jnp.maximum(raw.std(), 1e-6)), losses

    def _start(self, key: Array, model: LanguageModel, task: LMTask, reference: Any) -> Any:
        if self.features != "model":
            width = task.size + (task.size**2 if self.features == "bigram" else 0)
            return {"linear": jnp.zeros((len(task.prompts), width))}
        body = model.init(key) if self.trained == "scratch" else reference
        return {"body": body, "head": jax.random.normal(key, (model.width,)) / model.width**0.5}

    def _trained(self, model: LanguageModel, weights: Any) -> Any:
        """The part of the weights that is fitted."""
        if self.features != "model" or self.trained in ("full", "scratch"):
            return weights
        if self.trained == "head":
            return {"head": weights["head"]}
        if not isinstance(model, GPT):
            raise ValueError("only a transformer has a last block")
        return {"head": weights["head"], "block": jax.tree.map(lambda leaf: leaf[-1], weights["body"]["h"])}

    def _whole(self, model: LanguageModel, weights: Any, trained: Any) -> Any:
        """The weights with the fitted part in its place."""
        if self.features != "model" or self.trained in ("full", "scratch"):
            return trained
        body = weights["body"]
        if "block" in trained:
            blocks = jax.tree.map(lambda leaf, last: leaf.at[-1].set(last), body["h"], trained["block"])
            body = body | {"h": blocks}
        return {"body": body, "head": trained["head"]}

    def _row(self, task: LMTask, prompt: Array) -> Array:
        """Which of the task's prompts each of [B, P] is."""
        same = jnp.all(prompt[:, None] == jnp.asarray(task.prompts, jnp.int32), -1)
        return jnp.argmax(same, 1)


NORMALISED_BY = 1024
"""Completions of pi_0 by which scores are normalised."""


def counts(tokens: Array, task: LMTask, features: str) -> Array:
    """[B, V] how often each word is said, with `bigram` [B, V + V * V] also each pair of neighbours."""
    mask = drawn_mask(tokens, task.end).astype(jnp.float32)
    words = jax.nn.one_hot(tokens, task.size) * mask[..., None]
    if features == "unigram":
        return words.sum(1)
    pairs = jnp.einsum("blv,blw->bvw", words[:, :-1], words[:, 1:])
    return jnp.concatenate([words.sum(1), pairs.reshape(len(tokens), -1)], -1)
