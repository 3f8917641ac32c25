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
import optax
from jax import Array

from seqrl_jax.lm.base import Reward
from seqrl_jax.lm.labels import Rankings
from seqrl_jax.lm.sampling import drawn_mask, sample
from seqrl_jax.lm.stage import Aligning, Stage, run
from seqrl_jax.lm.tasks import LMTask
from seqrl_jax.lm.training import falling_adam, gradient_step
from seqrl_jax.naming import check
from seqrl_jax.networks.language_model import LanguageModel
from seqrl_jax.networks.module import Weights
from seqrl_jax.settings import Count, PositiveFloat, Weight


def plackett_luce(reward: Array) -> Array:
    """`-log P(y_1 > ... > y_K)` of rewards [M, K] in the order of the ranking, mean over M. K = 2: Bradley-Terry."""
    later = jax.lax.cumlogsumexp(reward, axis=1, reverse=True)
    return jnp.mean(jnp.sum(later - reward, 1))


class Fitted(NamedTuple):
    """Weights of every member [E, ...], and the mean and deviation [E] that its scores have under pi_0."""

    weights: Weights
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
        self, key: Array, model: LanguageModel, task: LMTask, reference: Weights, rankings: Rankings
    ) -> tuple[Fitted, Array]:
        """The fitted ensemble and its losses [E, updates], from rankings and the weights of pi_0."""
        aligning, losses = run(self.stage(model, task), key, Aligning(reference, reference, rankings))
        return aligning.fitted, losses.T

    def stage(self, model: LanguageModel, task: LMTask) -> Stage:
        """The ensemble is fitted to all that was ranked. Metrics: the members' losses [E]."""
        optimiser = falling_adam(self.learning_rate, self.updates)

        def begin(key: Array, aligning: Aligning) -> tuple[Aligning, Any, Array]:
            init_key, train_key, normalise_key = jax.random.split(key, 3)
            members = lambda key: jax.random.split(key, self.members)
            start = jax.vmap(lambda key: self._start(key, model, task, aligning.reference))(members(init_key))
            trained = jax.vmap(lambda start: self._trained(model, start))(start)
            return aligning, (start, trained, jax.vmap(optimiser.init)(trained), members(normalise_key)), train_key

        def update(aligning: Aligning, state: Any, key: Array) -> tuple[Any, Array]:
            start, trained, optimiser_state, normalise_keys = state

            def member(
                key: Array, start: Weights, trained: Weights, state: optax.OptState
            ) -> tuple[tuple[Weights, optax.OptState], Array]:
                drawn = jax.random.randint(key, (self.batch,), 0, len(aligning.rankings.prompt))
                rankings = jax.tree.map(lambda leaf: leaf[drawn], aligning.rankings)
                loss = lambda trained: self._loss(model, task, self._whole(model, start, trained), rankings)
                return gradient_step(optimiser, loss, trained, state)

            keys = jax.random.split(key, self.members)
            (trained, optimiser_state), losses = jax.vmap(member)(keys, start, trained, optimiser_state)
            return (start, trained, optimiser_state, normalise_keys), losses

        def end(aligning: Aligning, state: Any) -> Aligning:
            start, trained, _, normalise_keys = state
            weights = jax.vmap(lambda start, trained: self._whole(model, start, trained))(start, trained)
            normalise = lambda key, weights: self._normalised(key, model, task, aligning.reference, weights)
            return aligning._replace(fitted=jax.vmap(normalise)(normalise_keys, weights))

        return Stage(self.updates, begin, update, end)

    def reward(self, model: LanguageModel, task: LMTask, fitted: Fitted) -> Reward:
        """The reward that the ensemble stands for."""

        def reward(prompt: Array, tokens: Array) -> Array:
            raw = jax.vmap(lambda weights: self.score(model, task, weights, prompt, tokens))(fitted.weights)
            each = (raw - fitted.mean[:, None]) / fitted.deviation[:, None]
            return each.min(0) if self.pessimistic else each.mean(0)

        return reward

    def score(self, model: LanguageModel, task: LMTask, weights: Weights, prompt: Array, tokens: Array) -> Array:
        """One member's raw scores [B]."""
        if self.features == "model":
            hidden = model.apply(weights["body"], jnp.concatenate([prompt, tokens], 1), method="hidden")
            last = prompt.shape[1] - 1 + drawn_mask(tokens, task.end).sum(1)
            return jnp.take_along_axis(hidden, last[:, None, None], 1)[:, 0] @ weights["head"]
        return jnp.sum(counts(tokens, task, self.features) * weights["linear"][self._row(task, prompt)], -1)

    def _loss(self, model: LanguageModel, task: LMTask, weights: Weights, rankings: Rankings) -> Array:
        answers = rankings.tokens.shape[1]
        flat = rankings.tokens.reshape(-1, rankings.tokens.shape[-1])
        raw = self.score(model, task, weights, jnp.repeat(rankings.prompt, answers, 0), flat).reshape(-1, answers)
        penalty = 0.0 if self.features == "model" else self.decay * jnp.sum(jnp.square(weights["linear"]))
        return plackett_luce(raw) + penalty

    def _normalised(
        self, key: Array, model: LanguageModel, task: LMTask, reference: Weights, weights: Weights
    ) -> Fitted:
        """One member, with the mean and deviation of its scores under pi_0."""
        prompt_key, sample_key = jax.random.split(key)
        prompt = task.draw_prompts(prompt_key, NORMALISED_BY)
        drawn = sample(model, reference, sample_key, prompt, task.length, task.end)
        raw = self.score(model, task, weights, prompt, drawn.tokens)
        return Fitted(weights, raw.mean(), jnp.maximum(raw.std(), 1e-6))

    def _start(self, key: Array, model: LanguageModel, task: LMTask, reference: Weights) -> Weights:
        if self.features != "model":
            width = task.size + (task.size**2 if self.features == "bigram" else 0)
            return {"linear": jnp.zeros((len(task.prompts), width))}
        body_key, head_key = jax.random.split(key)
        body = model.initial_weights(body_key) if self.trained == "scratch" else reference
        return {"body": body, "head": jax.random.normal(head_key, (model.width,)) / model.width**0.5}

    def _trained(self, model: LanguageModel, weights: Weights) -> Weights:
        """The part of the weights that is fitted."""
        if self.features != "model" or self.trained in ("full", "scratch"):
            return weights
        if self.trained == "head":
            return {"head": weights["head"]}
        return {"head": weights["head"], "block": model.last_block(weights["body"])}

    def _whole(self, model: LanguageModel, weights: Weights, trained: Weights) -> Weights:
        """The weights with the fitted part in its place."""
        if self.features != "model" or self.trained in ("full", "scratch"):
            return trained
        body = weights["body"]
        if "block" in trained:
            body = model.with_last_block(body, trained["block"])
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
