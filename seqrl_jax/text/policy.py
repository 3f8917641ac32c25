"""Policy gradients on texts: the family of `policy_gradient` behind prompts of a user's own, with a learned reward."""

from __future__ import annotations

import dataclasses
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from seqrl_jax.lm.base import completion_logits, token_distribution
from seqrl_jax.lm.policy_gradient import PolicyGradient, Rollout
from seqrl_jax.lm.registry import DR_GRPO, GRPO, PPO, RLOO
from seqrl_jax.lm.sampling import Completions, sample
from seqrl_jax.networks.language_model import LanguageModel
from seqrl_jax.networks.module import Weights
from seqrl_jax.text.encoding import PromptBatch
from seqrl_jax.text.losses import scores

POLICY_GRADIENTS: dict[str, PolicyGradient] = {"ppo": PPO, "rloo": RLOO, "grpo": GRPO, "dr_grpo": DR_GRPO}
"""The policy gradients for texts, with the settings that they ship with."""


def answer(
    model: LanguageModel, weights: Weights, key: Array, prompts: PromptBatch, end: int
) -> tuple[Array, Completions]:
    """Answers to N prompts, as texts to learn from and to judge.

    Args: end: the token that ends an answer.
    Returns: the first token of each text [N, 1], and what stands behind it, [N, T]: the rest of its prompt, its answer
        where `mask` is, and ends, at least one, so that an answer that does not end can be read to its last token.
    """
    tokens, begins = jnp.asarray(prompts.tokens), jnp.asarray(prompts.begins)
    drawn = sample(model, weights, key, tokens, prompts.length, end, begins=begins)
    nothing = Completions(jnp.int32(end), jnp.bool_(False), jnp.float32(0))
    given = Completions(tokens, jnp.zeros(tokens.shape, bool), jnp.zeros(tokens.shape))
    texts = jax.tree.map(partial(_joined, begins), given, drawn, nothing)
    return texts.tokens[:, :1], jax.tree.map(lambda leaf: leaf[:, 1:], texts)


def _joined(begins: Array, given: Array, drawn: Array, nothing: Array) -> Array:
    """[N, P + L + 1]: what is given [N, P] from `begins` [N] on, what was drawn [N, L], and nothing behind it."""
    rows = jnp.pad(jnp.concatenate([given, drawn], 1), ((0, 0), (0, 1)), constant_values=nothing)
    last = rows.shape[1] - 1
    return jnp.take_along_axis(rows, jnp.minimum(begins[:, None] + jnp.arange(last + 1), last), 1)


def divergence(model: LanguageModel, weights: Weights, reference: Weights, begin: Array, drawn: Completions) -> Array:
    """[N]: KL(pi || pi_0) at each place of answers drawn behind `begin` [N, 1], over all tokens, summed over places."""
    ours, theirs = (token_distribution(completion_logits(model, w, begin, drawn.tokens)) for w in (weights, reference))
    return jnp.sum(jnp.where(drawn.mask, ours.kl_divergence(theirs), 0.0), 1)


def collect(
    policy: PolicyGradient,
    model: LanguageModel,
    weights: Weights,
    reference: Weights,
    reward: LearnedReward,
    key: Array,
    prompts: PromptBatch,
) -> tuple[Rollout, Array]:
    """`policy.group` answers to each of M prompts. Returns: also which of them ended, [M * group]."""
    each = jax.tree.map(lambda array: jnp.repeat(jnp.asarray(array), policy.group, 0), prompts)
    begin, drawn = answer(model, weights["model"], key, each, reward.end)
    rewarded = reward(begin, drawn)
    return policy.rollout(model, weights, reference, begin, drawn, rewarded.total), rewarded.ended


class Rewarded(NamedTuple):
    """Of N answers: the reward without and with the price of not ending, and whether each ended."""

    plain: Array
    total: Array
    ended: Array


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class LearnedReward:
    """A reward model's scores in deviations from their mean, minus the price of an answer that does not end.

    A pytree, so that compiled functions take it as an argument.

    Attributes: model, weights: {"model", "head"}. end: the token that ends an answer. mean, deviation: of the scores
        of pi_0's answers, the deviation that of answers to one prompt: what a score says of a prompt, preferences leave
        free. missing_end: the price, in such deviations.
    """

    model: LanguageModel = dataclasses.field(metadata={"static": True})
    end: int = dataclasses.field(metadata={"static": True})
    weights: Weights
    mean: float = 0.0
    deviation: float = 1.0
    missing_end: float = 0.0

    def __call__(self, begin: Array, drawn: Completions) -> Rewarded:
        raw = scores(self.model, self.weights, jnp.concatenate([begin, drawn.tokens], 1), drawn.mask, self.end)
        ended = jnp.any(drawn.mask & (drawn.tokens == self.end), 1)
        plain = (raw - self.mean) / self.deviation
        return Rewarded(plain, plain - jnp.where(ended, 0.0, self.missing_end), ended)

    def normalised(self, one: np.ndarray, other: np.ndarray, missing_end: float) -> LearnedReward:
        """The same with the mean and deviation of raw scores [n] of two answers to each of n prompts."""
        deviation = np.sqrt(np.mean(np.square(one - other)) / 2)
        mean, deviation = float(np.mean([one, other])), max(float(deviation), 1e-6)
        return dataclasses.replace(self, mean=mean, deviation=deviation, missing_end=missing_end)
