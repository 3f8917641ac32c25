"""What a text model does on the examples held out."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import jax
import numpy as np
from jax import Array

from seqrl_jax import hosts
from seqrl_jax.lm.sampling import sample
from seqrl_jax.networks.gpt import GPT
from seqrl_jax.networks.module import Weights
from seqrl_jax.results.statistics import Estimate, estimate, proportion
from seqrl_jax.text.corpus import Part
from seqrl_jax.text.encoding import PromptBatch, TokenBatch, prompt_batch
from seqrl_jax.text.losses import losses_of
from seqrl_jax.text.policy import LearnedReward, answer, divergence
from seqrl_jax.text.vocabulary import written

SAMPLED, SAMPLE_LENGTH = 3, 80
ANY_NUMBER, POSITIVE, NEGATIVE = (-math.inf, math.inf), (0.0, math.inf), (-math.inf, 0.0)
"""Where a mean may lie; the last two with 0."""
Summary = dict[str, float | None]
"""{"mean", "low", "high"}: a mean with its 95% interval, which one value alone has not."""


def summary(
    values: Sequence[float] | np.ndarray, topics: np.ndarray, within: tuple[float, float] = ANY_NUMBER
) -> Summary:
    """Of one value for each example: a bootstrap interval over topics [n], each of which counts once.

    within: where the truth lies in any case.
    """
    return _ends(estimate(_by_topic(values, topics), within))


def share(values: Sequence[float] | np.ndarray, topics: np.ndarray) -> Summary:
    """The same of 0, 1/2 or 1 for each example: Wilson's interval, each topic one trial."""
    return _ends(proportion(_by_topic(values, topics)))


def sign_of_mean(interval: Summary) -> int:
    """1 or -1 where an interval lies above or below 0, else 0, as of one value alone."""
    low, high = interval["low"], interval["high"]
    return 0 if low is None or high is None else int(low > 0) - int(high < 0)


def sign_of_most(values: Sequence[float] | np.ndarray, topics: np.ndarray) -> int:
    """1 or -1 where values for each example are above or below 0 on more topics than a fair coin would have it, else 0.

    The exact sign test at 5%: few values of few sizes may all be alike, and their bootstrap interval a point.
    """
    from scipy.stats import binomtest

    each = np.sign(_by_topic(values, topics))
    above, below = int((each > 0).sum()), int((each < 0).sum())
    if not above + below or binomtest(above, above + below).pvalue > 0.05:
        return 0
    return 1 if above > below else -1


def _by_topic(values: Sequence[float] | np.ndarray, topics: np.ndarray) -> np.ndarray:
    _, places, counts = np.unique(topics, return_inverse=True, return_counts=True)
    return np.bincount(places, np.asarray(values, np.float64)) / counts


def _ends(interval: Estimate) -> Summary:
    return {"mean": interval.value, "low": interval.low, "high": interval.high}


def losses_and_preferences(
    method: str,
    beta: float,
    model: GPT,
    weights: Weights,
    reference: Weights,
    batches: Sequence[TokenBatch],
    end: int,
    labelled: bool = False,
) -> tuple[np.ndarray, np.ndarray]:
    """Losses of the examples, and 1 where the model prefers what was chosen or agrees with the label, 1/2 where it
    cannot tell; both [n]."""
    losses, right = list[np.ndarray](), list[np.ndarray]()
    for part in batches:
        good = part.good if labelled else None
        loss, margin = _losses(method, beta, model, weights, reference, part.tokens, part.mask, good, end)
        loss, margin = hosts.whole((loss, margin))
        losses.append(loss.astype(np.float64))
        right.append(0.5 + 0.5 * np.sign(margin.astype(np.float64)))
    return np.concatenate(losses), np.concatenate(right)


_losses = jax.jit(losses_of, static_argnames=("method", "beta", "model", "end"))


class Answered(NamedTuple):
    """Of one answer to each prompt [n]: its reward without and with the price of not ending, whether it ended, its
    tokens, and KL(pi || pi_0) summed over its places, each over all tokens."""

    plain: np.ndarray
    reward: np.ndarray
    ended: np.ndarray
    length: np.ndarray
    kl: np.ndarray


def answering(model: GPT, reference: Weights, reward: LearnedReward) -> Callable[..., Answered]:
    """A judge of weights on prompts. Its third argument tells several answers to a prompt apart."""

    def judge(weights: Weights, batches: Sequence[PromptBatch], draw: int = 0) -> Answered:
        parts = [
            _answered(
                model,
                weights,
                reference,
                reward,
                jax.random.fold_in(jax.random.key(draw), number),
                batch,
            )
            for number, batch in enumerate(batches)
        ]
        columns = zip(*hosts.whole(parts))
        return Answered(*(np.concatenate([leaf.astype(np.float64) for leaf in leaves]) for leaves in columns))

    return judge


@partial(jax.jit, static_argnames="model")
def _answered(
    model: GPT,
    weights: Weights,
    reference: Weights,
    reward: LearnedReward,
    key: Array,
    prompts: PromptBatch,
) -> tuple[Array, Array, Array, Array, Array]:
    """The fields of `Answered` for a batch."""
    begin, drawn = answer(model, weights, key, prompts, reward.end)
    kl = divergence(model, weights, reference, begin, drawn)
    return *reward(begin, drawn), drawn.mask.sum(1), kl


_sample = jax.jit(sample, static_argnums=(0, 4, 5))


def samples(model: GPT, weights: Weights, part: Part, context: int, seed: int = 0) -> list[dict[str, str]]:
    """What the model says behind a few prompts, as much of their right as leaves room."""
    vocabulary = part.corpus.vocabulary
    indices = part.indices[:SAMPLED]
    batch = prompt_batch(part.corpus, indices, context, min(SAMPLE_LENGTH, context // 2))
    key = jax.random.key(seed)
    drawn = _sample(model, weights, key, batch.tokens, batch.length, vocabulary.end, begins=batch.begins)
    answers = []
    for row, begin, said in zip(batch.tokens, batch.begins, hosts.whole(drawn.tokens), strict=True):
        prompt = row[begin:]
        shown = vocabulary.spelled(prompt[int(prompt[0] == vocabulary.end) :]).decode(errors="replace")
        answers.append({"prompt": shown, "said": written(vocabulary, said)})
    return answers
