"""KTO: answers judged good or bad one by one, against a reference point.

Prospect theory weighs gains and losses from where one stands: here from the KL that the policy has spent already.
Ethayarajh et al. (2024).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from seqrl_jax.lm.labels import Rankings
from seqrl_jax.lm.preference import FromLabels, kto_answers, scored
from seqrl_jax.lm.tasks import LMTask
from seqrl_jax.networks.language_model import LanguageModel
from seqrl_jax.networks.module import Weights
from seqrl_jax.settings import PositiveFloat


class Judged(NamedTuple):
    """M prompts [M, P] with an answer each [M, L], and whether it was liked: 1 or -1 [M]."""

    prompt: Array
    tokens: Array
    good: Array


@dataclass(frozen=True)
class KTO(FromLabels):
    """Kahneman-Tversky optimisation at equal weights of good and bad answers.

    Attributes:
        beta: in units of reward per nat.
        judged: `one` answer of each pair is shown, with whether it was preferred to the other, so that labels are as
            many as those of pairs and follow the same law; or `both`, as if pairs were twice as many single answers.
        reference_point: z, an estimate of KL(pi || pi_0): `other_prompts`, the mean h of answers to other prompts
            (ibid., sec. 4.1), which is negative and counts as 0 where those are unlikely; or `weighted`, the mean h of
            the answers themselves, weighted by their pi / pi_0 (`weighted_divergence`).
    """

    beta: PositiveFloat = 0.1
    judged: Literal["one", "both"] = "one"
    reference_point: Literal["other_prompts", "weighted"] = "other_prompts"

    @property
    def price(self) -> float | None:
        return self.beta

    def labelled(
        self, key: Array, model: LanguageModel, task: LMTask, weights: Weights, pairs: int
    ) -> Judged | Rankings:
        label_key, show_key = jax.random.split(key)
        rankings: Rankings = super().labelled(label_key, model, task, weights, pairs)
        return one_of_each(show_key, rankings) if self.judged == "one" else rankings

    def loss_of(self, model: LanguageModel, task: LMTask, weights: Weights, reference: Weights, labels: Any) -> Array:
        answers = labels if self.judged == "one" else both_of_each(labels)
        h = lambda prompt, tokens: scored(model, task, weights, reference, prompt, tokens).h
        ours = h(answers.prompt, answers.tokens)
        if self.reference_point == "other_prompts":
            z = h(answers.prompt, jnp.roll(answers.tokens, 1, 0)).mean()
        else:
            z = weighted_divergence(ours)
        return kto_answers(ours, answers.good, self.beta, z)


def one_of_each(key: Array, pairs: Rankings) -> Judged:
    """One answer of each pair, drawn with equal chances, with its half of the label."""
    good = jax.random.bernoulli(key, 0.5, (len(pairs.prompt),))
    tokens = jnp.where(good[:, None], pairs.chosen, pairs.rejected)
    return Judged(pairs.prompt, tokens, jnp.where(good, 1.0, -1.0))


def both_of_each(pairs: Rankings) -> Judged:
    """Every answer of every pair, the chosen ones first."""
    ones = jnp.ones(len(pairs.prompt))
    tokens = jnp.concatenate([pairs.chosen, pairs.rejected])
    return Judged(jnp.tile(pairs.prompt, (2, 1)), tokens, jnp.concatenate([ones, -ones]))


def weighted_divergence(h: Array) -> Array:
    """`sum e^h h / sum e^h` [] of answers of pi_0 [M]: consistent for KL(pi || pi_0), at most the largest h."""
    return jnp.sum(jax.nn.softmax(h) * h)
