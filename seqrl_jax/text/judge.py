"""What a text model does on the examples held out, beside two baselines that know no language."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from scipy.optimize import minimize

from seqrl_jax.lm.base import token_log_probs
from seqrl_jax.lm.policy_gradient import k1
from seqrl_jax.networks.gpt import GPT
from seqrl_jax.networks.module import Weights
from seqrl_jax.results.statistics import estimate
from seqrl_jax.text.corpus import END, Corpus, TokenBatch, prompt_batch, written
from seqrl_jax.text.losses import losses_of
from seqrl_jax.text.policy import LearnedReward, answer

SAMPLED, SAMPLE_LENGTH = 3, 80
Summary = dict[str, float | None]
"""{"mean", "low", "high"}: a mean with its 95% bootstrap interval, which one value alone has not."""


def summary(values: Sequence[float]) -> Summary:
    """Of one value for each example."""
    interval = estimate(values)
    return {"mean": interval.value, "low": interval.low, "high": interval.high}


def losses_and_preferences(
    method: str, beta: float, model: GPT, weights: Weights, reference: Weights, batches: Sequence[TokenBatch]
) -> tuple[list[float], list[float]]:
    """Losses of the examples, and 1 where the model prefers what was chosen, 1/2 where it cannot tell."""
    read = jax.jit(partial(losses_of, method, beta, model))
    losses: list[float] = []
    right: list[float] = []
    for part in batches:
        loss, margin = read(weights, reference, part.tokens, part.mask)
        losses += np.asarray(loss).tolist()
        right += (0.5 + 0.5 * np.sign(np.asarray(margin))).tolist()
    return losses, right


def answering(
    model: GPT, reference: Weights, reward: LearnedReward
) -> Callable[[Weights, Sequence[TokenBatch]], tuple[list[float], list[float]]]:
    """A judge of weights on prompts: the reward of one answer to each, and its log pi - log pi_0, whose mean estimates
    the KL."""

    @jax.jit
    def judged(
        weights: Weights, reference: Weights, reward: LearnedReward, key: Array, tokens: Array, mask: Array
    ) -> tuple[Array, Array]:
        begin, drawn = answer(model, weights, key, tokens, mask)
        ref_log_prob = token_log_probs(model, reference, begin, drawn.tokens)
        return reward(begin, drawn), jnp.where(drawn.mask, k1(drawn.log_prob, ref_log_prob), 0.0).sum(1)

    def judge(weights: Weights, batches: Sequence[TokenBatch]) -> tuple[list[float], list[float]]:
        rewards: list[float] = []
        log_ratios: list[float] = []
        for number, part in enumerate(batches):
            one, two = judged(weights, reference, reward, jax.random.key(number), part.tokens[:, 0], part.mask[:, 0])
            rewards += np.asarray(one).tolist()
            log_ratios += np.asarray(two).tolist()
        return rewards, log_ratios

    return judge


def longer(corpus: Corpus, held: np.ndarray) -> list[float]:
    """1 where the longer answer was chosen, 1/2 where both are of one length."""
    lengths = [[len(text) for text in example.completions] for example in corpus.read(held)]
    return [0.5 + 0.5 * float(np.sign(first - second)) for first, second in lengths]


def unigram(corpus: Corpus, training: np.ndarray, held: np.ndarray) -> list[float]:
    """A logistic regression on the difference of the counts of bytes, with a little decay."""

    def differences(indices: np.ndarray) -> np.ndarray:
        count = lambda text: np.bincount(np.frombuffer(text, np.uint8), minlength=256)
        return np.array([count(a) - count(b) for _, (a, b) in corpus.read(indices)], np.float64)

    learned = differences(training)
    scale = np.maximum(learned.std(0), 1e-9)

    def loss(weights: np.ndarray) -> tuple[float, np.ndarray]:
        margin = learned / scale @ weights
        wrong = 0.5 * (1 - np.tanh(0.5 * margin))
        value = np.logaddexp(0, -margin).mean() + 1e-3 * weights @ weights
        return value, -(learned / scale).T @ wrong / len(margin) + 2e-3 * weights

    fitted = minimize(loss, np.zeros(256), jac=True, method="L-BFGS-B").x
    return (0.5 + 0.5 * np.sign(differences(held) / scale @ fitted)).tolist()


_answer = jax.jit(answer, static_argnums=0)


def samples(model: GPT, weights: Weights, corpus: Corpus, held: np.ndarray) -> list[dict[str, str]]:
    """What the model says behind a few prompts, as much of their right as leaves room."""
    part = prompt_batch(corpus.read(held[:SAMPLED]), model.context, min(SAMPLE_LENGTH, model.context // 2))
    tokens, room = part.tokens[:, 0], part.mask[:, 0]
    _, drawn = _answer(model, weights, jax.random.key(0), tokens, room)
    answers = []
    for text, said, place in zip(tokens, np.asarray(drawn.tokens), room, strict=True):
        prompt = text[: place.argmax() + 1]
        answers.append({"prompt": written(prompt[prompt != END]), "said": written(said[place])})
    return answers
