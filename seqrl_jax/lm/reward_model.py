"""Reward models: what rankings say a completion is worth.

    P(y_1 > ... > y_K | x) = prod_i exp(r(x, y_i)) / sum_{j >= i} exp(r(x, y_j))

fitted by maximum likelihood (Ouyang et al., 2022, eq. 1 for pairs), on a language model with a scalar head at the last
token, on what such a model says of an answer beside pi_0, or on counts of words and of pairs of words.

Rankings leave one constant for each prompt open, r(x, .) + c(x), and nothing else: the labels' law fixes the unit. So
scores are put to mean 0 over some answers of pi_0 to each prompt, the same answers for all members of an ensemble, and
are not scaled: KL costs beta in the unit of the labels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array

from seqrl_jax.lm.base import Reward, token_log_probs
from seqrl_jax.lm.labels import Rankings
from seqrl_jax.lm.sampling import drawn_mask, sample
from seqrl_jax.lm.stage import Aligning, Stage, run
from seqrl_jax.lm.tasks import LMTask
from seqrl_jax.lm.training import falling_adam, gradient_step
from seqrl_jax.naming import check, require
from seqrl_jax.networks.language_model import LanguageModel
from seqrl_jax.networks.module import Weights
from seqrl_jax.settings import Count, Part, PositiveFloat, Weight


def plackett_luce(reward: Array) -> Array:
    """`-log P(y_1 > ... > y_K)` of rewards [M, K] in the order of the ranking, mean over M. K = 2: Bradley-Terry."""
    later = jax.lax.cumlogsumexp(reward, axis=1, reverse=True)
    return jnp.mean(jnp.sum(later - reward, 1))


class Fitted(NamedTuple):
    """Weights of every member [E, ...], and the mean of its raw scores over the anchors of each prompt [E, N]."""

    weights: Weights
    offset: Array


class Fitting(NamedTuple):
    """What the updates of a fit change, and what they read. E members.

    start, trained, optimiser: weights at the beginning, the fitted part of them, and Adam's state. best, best_loss: the
    fitted part that had the smallest loss on held-out rankings so far, and that loss [E]. order: of the M rankings, the
    held-out ones first. done: updates so far. anchor_key: of the answers whose mean score is 0.
    """

    start: Weights
    trained: Weights
    optimiser: optax.OptState
    best: Weights
    best_loss: Array
    order: Array
    done: Array
    anchor_key: Array


@dataclass(frozen=True)
class RewardModel:
    """An ensemble of reward models.

    Attributes:
        features: what a score is linear in: counts of words (`unigram`), also of neighbouring pairs (`bigram`), or the
            hidden state of a `model` at the last token. `likelihood`: the score is `log pi - log pi_0` of the answer,
            of a model that starts as pi_0: every token has a part in it, and what pi_0 knows of texts need not be
            learned again (the implicit reward of Rafailov et al., 2024; as a reward model: Yuan et al., 2024).
        trained: of a `model`: the `head` on a frozen body, also the `last_block`, the `full` model, from pi_0's
            weights; or the full model from `scratch`.
        members: E, differing in their seeds. pessimistic: the smallest score of the members instead of their mean.
        learning_rate: of Adam, falling to 0. updates: gradient steps. batch: rankings in each.
        decay: weight of the squared weights, of counted features only.
        held_out: share of the rankings that no gradient sees. The weights that had the smallest loss on them, looked at
            `CHECKS` times, are the fitted ones.
    """

    features: Literal["unigram", "bigram", "model", "likelihood"] = "model"
    trained: Literal["head", "last_block", "full", "scratch"] = "full"
    members: Count = 1
    pessimistic: bool = False
    learning_rate: PositiveFloat = 0.003
    updates: Count = 2000
    batch: Count = 128
    decay: Weight = 1e-4
    held_out: Part = 0.1

    def __post_init__(self) -> None:
        check(self)
        whole = self.features != "likelihood" or self.trained == "full"
        require(whole, "a likelihood ratio is fitted whole, from pi_0", features=self.features, trained=self.trained)

    def train(
        self, key: Array, model: LanguageModel, task: LMTask, reference: Weights, rankings: Rankings
    ) -> tuple[Fitted, Array]:
        """The fitted ensemble and its losses [E, updates], from rankings and the weights of pi_0."""
        aligning, losses = run(self.stage(model, task), key, Aligning(reference, reference, rankings))
        return aligning.fitted, losses.T

    def stage(self, model: LanguageModel, task: LMTask) -> Stage:
        """The ensemble is fitted to all that was ranked. Metrics: the members' losses [E]."""
        optimiser = falling_adam(self.learning_rate, self.updates)

        def begin(key: Array, aligning: Aligning) -> tuple[Aligning, Fitting, Array]:
            init_key, train_key, anchor_key, order_key = jax.random.split(key, 4)
            member_keys = jax.random.split(init_key, self.members)
            start = jax.vmap(lambda key: self._start(key, model, task, aligning.reference))(member_keys)
            trained = jax.vmap(lambda start: self._trained(model, start))(start)
            order = jax.random.permutation(order_key, len(aligning.rankings.prompt))
            unknown = jnp.full(self.members, jnp.inf)
            state = jax.vmap(optimiser.init)(trained)
            return (
                aligning,
                Fitting(start, trained, state, trained, unknown, order, jnp.int32(0), anchor_key),
                train_key,
            )

        def update(aligning: Aligning, state: Fitting, key: Array) -> tuple[Fitting, Array]:
            rankings = lambda rows: jax.tree.map(lambda leaf: leaf[rows], aligning.rankings)
            held_out = self._held_out_batches(state.order)
            training = state.order[held_out.size :]
            done = state.done + 1
            every = max(1, self.updates // CHECKS)
            # A loop of no rounds and not `cond`: under `vmap` the latter computes both of its branches.
            rounds = jnp.where((done % every == 0) | (done == self.updates), len(held_out), 0)

            def member(
                key: Array, start: Weights, trained: Weights, optimiser_state: optax.OptState
            ) -> tuple[Weights, optax.OptState, Array, Array]:
                drawn = rankings(training[jax.random.randint(key, (self.batch,), 0, len(training))])
                likelihood = lambda trained, drawn: self._loss(model, task, self._whole(model, start, trained), drawn)
                loss = lambda trained: likelihood(trained, drawn) + self._penalty(trained)
                (trained, optimiser_state), before = gradient_step(optimiser, loss, trained, optimiser_state)
                add = lambda i, total: total + likelihood(trained, rankings(held_out[i]))
                return trained, optimiser_state, before, jax.lax.fori_loop(0, rounds, add, 0.0) / len(held_out)

            keys = jax.random.split(key, self.members)
            trained, optimiser_state, losses, seen = jax.vmap(member)(keys, state.start, state.trained, state.optimiser)
            better = (rounds > 0) & (seen < state.best_loss)
            best = _chosen(better, trained, state.best)
            return state._replace(
                trained=trained,
                optimiser=optimiser_state,
                best=best,
                best_loss=jnp.where(better, seen, state.best_loss),
                done=done,
            ), losses

        def end(aligning: Aligning, state: Fitting) -> Aligning:
            # What never had a finite loss has diverged, and is handed on so that it is seen.
            best = _chosen(jnp.isfinite(state.best_loss), state.best, state.trained)
            weights = jax.vmap(lambda start, trained: self._whole(model, start, trained))(state.start, best)
            return aligning._replace(fitted=self.anchored(state.anchor_key, model, task, aligning.reference, weights))

        return Stage(self.updates, begin, update, end)

    def anchored(self, key: Array, model: LanguageModel, task: LMTask, reference: Weights, weights: Weights) -> Fitted:
        """Members with weights [E, ...], whose scores have mean 0 over the same answers of pi_0 to each prompt."""
        prompt = jnp.repeat(jnp.asarray(task.prompts, jnp.int32), ANCHORS, 0)
        drawn = sample(model, reference, key, prompt, task.length, task.end)
        raw = jax.vmap(lambda weights: self.score(model, task, weights, prompt, drawn.tokens))(weights)
        return Fitted(weights, raw.reshape(len(raw), -1, ANCHORS).mean(2))

    def reward(self, model: LanguageModel, task: LMTask, fitted: Fitted) -> Reward:
        """The reward that the ensemble stands for."""

        def reward(prompt: Array, tokens: Array) -> Array:
            raw = jax.vmap(lambda weights: self.score(model, task, weights, prompt, tokens))(fitted.weights)
            each = raw - fitted.offset[:, self._row(task, prompt)]
            return each.min(0) if self.pessimistic else each.mean(0)

        return reward

    def score(self, model: LanguageModel, task: LMTask, weights: Weights, prompt: Array, tokens: Array) -> Array:
        """One member's raw scores [B]."""
        if self.features == "likelihood":
            mask = drawn_mask(tokens, task.end)
            log_prob = lambda body: jnp.sum(jnp.where(mask, token_log_probs(model, body, prompt, tokens), 0.0), 1)
            return log_prob(weights["body"]) - log_prob(weights["reference"])
        if self.features == "model":
            hidden = model.apply(weights["body"], jnp.concatenate([prompt, tokens], 1), method="hidden")
            last = prompt.shape[1] - 1 + drawn_mask(tokens, task.end).sum(1)
            return jnp.take_along_axis(hidden, last[:, None, None], 1)[:, 0] @ weights["head"]
        return jnp.sum(counts(tokens, task, self.features) * weights["linear"][self._row(task, prompt)], -1)

    def _loss(self, model: LanguageModel, task: LMTask, weights: Weights, rankings: Rankings) -> Array:
        answers = rankings.tokens.shape[1]
        flat = rankings.tokens.reshape(-1, rankings.tokens.shape[-1])
        raw = self.score(model, task, weights, jnp.repeat(rankings.prompt, answers, 0), flat).reshape(-1, answers)
        return plackett_luce(raw)

    def _penalty(self, trained: Weights) -> Array:
        return jnp.float32(0) if self._is_neural else self.decay * jnp.sum(jnp.square(trained["linear"]))

    def _held_out_batches(self, order: Array) -> Array:
        """[rounds, batch]: the first rankings of an order of two or more, as whole batches of equal size; not all."""
        count = min(max(1, round(self.held_out * len(order))), len(order) - 1)
        size = min(self.batch, count)
        return order[: count // size * size].reshape(-1, size)

    @property
    def _is_neural(self) -> bool:
        return self.features in ("model", "likelihood")

    def _start(self, key: Array, model: LanguageModel, task: LMTask, reference: Weights) -> Weights:
        if not self._is_neural:
            width = task.size + (task.size**2 if self.features == "bigram" else 0)
            return {"linear": jnp.zeros((len(task.prompts), width))}
        if self.features == "likelihood":
            return {"body": reference, "reference": reference}
        body_key, head_key = jax.random.split(key)
        body = model.initial_weights(body_key) if self.trained == "scratch" else reference
        return {"body": body, "head": jax.random.normal(head_key, (model.width,)) / model.width**0.5}

    def _trained(self, model: LanguageModel, weights: Weights) -> Weights:
        """The part of the weights that is fitted."""
        if self.features == "likelihood":
            return {"body": weights["body"]}
        if self.features != "model" or self.trained in ("full", "scratch"):
            return weights
        if self.trained == "head":
            return {"head": weights["head"]}
        return {"head": weights["head"], "block": model.last_block(weights["body"])}

    def _whole(self, model: LanguageModel, weights: Weights, trained: Weights) -> Weights:
        """The weights with the fitted part in its place."""
        if "block" in trained:
            return {"body": model.with_last_block(weights["body"], trained["block"]), "head": trained["head"]}
        return weights | trained

    def _row(self, task: LMTask, prompt: Array) -> Array:
        """Which of the task's prompts each of [B, P] is."""
        same = jnp.all(prompt[:, None] == jnp.asarray(task.prompts, jnp.int32), -1)
        return jnp.argmax(same, 1)


ANCHORS = 16
"""Answers of pi_0 to each prompt over which every member's scores have mean 0."""
CHECKS = 20
"""Looks at the held-out rankings in a fit."""


def _chosen(first: Array, one: Weights, other: Weights) -> Weights:
    """Of each member [E] the one or the other weights [E, ...]."""
    of = lambda one, other: jnp.where(first.reshape(-1, *[1] * (one.ndim - 1)), one, other)
    return jax.tree.map(of, one, other)


def counts(tokens: Array, task: LMTask, features: str) -> Array:
    """[B, V] how often each word is said, with `bigram` [B, V + V * V] also each pair of neighbours."""
    mask = drawn_mask(tokens, task.end).astype(jnp.float32)
    words = jax.nn.one_hot(tokens, task.size) * mask[..., None]
    if features == "unigram":
        return words.sum(1)
    pairs = jnp.einsum("blv,blw->bvw", words[:, :-1], words[:, 1:])
    return jnp.concatenate([words.sum(1), pairs.reshape(len(tokens), -1)], -1)
