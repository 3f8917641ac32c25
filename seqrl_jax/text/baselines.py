"""What knows no language: baselines beside which a model of texts or of preferences must be seen."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from scipy.optimize import minimize

from seqrl_jax.text.corpus import Part
from seqrl_jax.text.vocabulary import Vocabulary

BYTES = 256
END = BYTES
"""Behind the bytes of a text."""
DECAY = 1e-3
SMOOTHING = 0.1
"""Added to every count of a pair of bytes, in units of how likely the second is alone."""
Features = Callable[[bytes], np.ndarray]
"""A text -> numbers [F]."""


def length_of(text: bytes) -> np.ndarray:
    """[1]: how long it is."""
    return np.array([len(text)], np.float32)


def counts_of(text: bytes) -> np.ndarray:
    """[256]: how often each byte stands in it."""
    return np.bincount(np.frombuffer(text, np.uint8), minlength=BYTES).astype(np.float32)


def preferring(features: Features, training: Part, held: Part) -> np.ndarray:
    """[held] 1 where a logistic regression, learned from the whole training part, prefers what was chosen or gives the
    label, 1/2 where it cannot tell.

    Pairs are regressed on the differences of their features; labelled answers on their features and a constant.
    """
    learned, target = _examples(features, training)
    deviation = learned.std(0)
    scale = np.where(deviation > 0, deviation, 1.0)
    weights = _logistic(learned / scale, target)
    rows, label = _examples(features, held)
    return 0.5 + 0.5 * np.sign(rows / scale @ weights * label)


def _examples(features: Features, part: Part) -> tuple[np.ndarray, np.ndarray]:
    """[n, F] features and [n] targets of 1 and -1."""
    corpus = part.corpus
    if corpus.form == "pair":
        rows = [features(corpus.spelled(i, 0)) - features(corpus.spelled(i, 1)) for i in part.indices]
        return np.array(rows), np.ones(len(part))
    alone = [np.append(features(corpus.spelled(i, 0)), np.float32(1)) for i in part.indices]
    return np.array(alone), np.where(corpus.good[part.indices], 1.0, -1.0)


def _logistic(rows: np.ndarray, target: np.ndarray) -> np.ndarray:
    """The weights [F] of a logistic regression with a little decay."""

    def loss(weights: np.ndarray) -> tuple[float, np.ndarray]:
        margin = target * (rows @ weights)
        wrong = 0.5 * (1 - np.tanh(0.5 * margin))
        value = np.logaddexp(0, -margin).mean() + DECAY * weights @ weights
        return value, -rows.T @ (target * wrong) / len(margin) + 2 * DECAY * weights

    return minimize(loss, np.zeros(rows.shape[1]), jac=True, method="L-BFGS-B").x


class Counted(NamedTuple):
    """Nats per byte of each text [n] under counts of the training part: of bytes, and of bytes behind another."""

    unigram: np.ndarray
    bigram: np.ndarray


def counted(training: Part, held: Part) -> Counted:
    """The end of a text is a byte of its own. Counts are of the whole training part."""
    pairs = np.zeros((BYTES + 1, BYTES + 1))
    for before, after in _answers(training):
        np.add.at(pairs, (before, after), 1)
    once = pairs.sum(0) + 1
    alone = once / once.sum()
    behind = (pairs + SMOOTHING * BYTES * alone) / (pairs.sum(1, keepdims=True) + SMOOTHING * BYTES)
    costs = [(-np.log(alone[after]).mean(), -np.log(behind[before, after]).mean()) for before, after in _answers(held)]
    return Counted(*np.array(costs).T)


def lengths(part: Part) -> np.ndarray:
    """[n]: bytes of each example's first answer, as the model says it, its end among them."""
    return np.array([len(after) for _, after in _answers(part)])


def _answers(part: Part) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The bytes of each first answer, and the byte before each."""
    corpus = part.corpus
    for index in part.indices:
        tokens, own = corpus.answer(index, 0)
        text = np.frombuffer(corpus.spelled(index, 0), np.uint8).astype(np.int64)
        ends = np.array([END] if tokens[-1] == corpus.vocabulary.end and own[-1] else [], np.int64)
        after = np.concatenate([text, ends])
        yield np.concatenate([[_byte_before(corpus.vocabulary, corpus.prompt(index))], after[:-1]]), after


def _byte_before(vocabulary: Vocabulary, prompt: np.ndarray) -> int:
    spelled = vocabulary.spelled(prompt[-1:])
    return spelled[-1] if spelled else END
