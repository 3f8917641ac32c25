"""Train a byte model on a user's own text or preferences, judge it on examples held out, and keep what it learned."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from scipy.optimize import minimize

from seqrl_jax.bench.provenance import write_record
from seqrl_jax.bench.statistics import interval
from seqrl_jax.lm.base import chosen, next_token_logits
from seqrl_jax.lm.checkpoint import load_tree, read_told, save_tree
from seqrl_jax.lm.gpt import GPT
from seqrl_jax.lm.preference import dpo, ipo, kto
from seqrl_jax.lm.reward_model import plackett_luce
from seqrl_jax.lm.sampling import sample
from seqrl_jax.lm.sft import cross_entropy
from seqrl_jax.lm.text import END, VOCABULARY, Batch, Corpus, batch, scan, written
from seqrl_jax.lm.training import descend, falling_adam
from seqrl_jax.lm.weights import WEIGHTS, load_gpt, save_gpt

METHODS = ("sft", "rm", "dpo", "ipo", "kto")
FROM_A_MODEL = ("dpo", "ipo", "kto")
CHECKPOINT, HEAD, REPORT = "training.safetensors", "head.safetensors", "report.json"
SAMPLED, SAMPLE_LENGTH = 3, 80
MOST_JUDGED = 2000
"""Held-out examples, and pairs for the baseline, at most."""


class TrainingError(ValueError):
    """A run that cannot go on."""


@dataclass(frozen=True)
class TextRun:
    """What is trained, and how.

    Attributes:
        method: `sft`, `rm`, `dpo`, `ipo` or `kto`. steps: gradient steps. batch: examples in each.
        learning_rate: of Adam, falling to 0. beta: of the preference losses. held_out: share of the examples.
        check_every: steps between checkpoints. seed: of weights, of the split and of the order of examples.
    """

    method: str = "sft"
    steps: int = 1000
    batch: int = 16
    learning_rate: float = 0.0005
    beta: float = 0.1
    held_out: float = 0.1
    check_every: int = 100
    seed: int = 0

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise TrainingError(f"unknown method {self.method!r}, expected one of {', '.join(METHODS)}")
        if not 0 < self.held_out < 1:
            raise TrainingError(f"held_out is {self.held_out}, expected a share between 0 and 1")

    @property
    def pairs(self) -> bool:
        """Whether it learns from preferences."""
        return self.method != "sft"


@dataclass(frozen=True)
class Report:
    """What was found on the examples held out: {"mean", "low", "high"}, 95% bootstrap intervals.

    truncated: examples longer than the context. loss: nats per byte (sft) or per pair. accuracy: how often the model
    prefers what was chosen; longer: how often that is the longer answer; unigram: what a logistic regression on counts
    of bytes gets right. The last three are None without pairs.
    """

    steps: int
    examples: int
    held_out: int
    skipped: int
    truncated: int
    loss: dict[str, float]
    accuracy: dict[str, float] | None
    longer: dict[str, float] | None
    unigram: dict[str, float] | None
    samples_before: list[dict[str, str]]
    samples_after: list[dict[str, str]]


def run_text(
    run: TextRun,
    data: Path,
    out: Path,
    model: GPT | None = None,
    start: Path | None = None,
    skip_bad: bool = False,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Report:
    """Train, keep checkpoints in `out`, go on from the last one if there is one, and judge.

    Args: model: its sizes where no `start`, a directory that `save_gpt` wrote, gives the weights to begin with.
    Raises: DataError for a bad line; TrainingError where a preference loss has no model to begin with, where `out`
        holds another run's checkpoint, or where the loss is no number (the last good checkpoint is kept).
    """
    corpus = scan(data, run.pairs, skip_bad)
    training, held = _split(len(corpus), run)
    if start is None and run.method in FROM_A_MODEL:
        raise TrainingError(f"{run.method} compares with a model: say which, by its directory")
    if start is not None:
        model, weights = load_gpt(start)
        if model.vocabulary != VOCABULARY:
            raise TrainingError(f"{start}: a vocabulary of {model.vocabulary}, where bytes need {VOCABULARY}")
    else:
        assert model is not None
        weights = model.init(jax.random.key(run.seed))
    begin = {"model": weights}
    if run.method == "rm":
        begin["head"] = jax.random.normal(jax.random.key(run.seed + 1), (model.width,)) / model.width**0.5

    out.mkdir(parents=True, exist_ok=True)
    first = hashlib.sha256((start / WEIGHTS).read_bytes()).hexdigest() if start else None
    told = {"run": asdict(run), "model": asdict(model), "data": corpus.digest, "start": first}
    learned = _train(run, model, begin, corpus, training, out, told, progress)
    save_gpt(out, model, learned["model"])
    if "head" in learned:
        save_tree(out / HEAD, learned["head"], {})
    judged = held[:MOST_JUDGED]
    losses, right = _judge(run, model, learned, weights, corpus, judged)
    report = Report(
        steps=run.steps,
        examples=len(corpus),
        held_out=len(held),
        skipped=corpus.skipped,
        truncated=corpus.truncated(model.context),
        loss=_summary(losses),
        accuracy=_summary(right) if run.pairs else None,
        longer=_summary(_longer(corpus, judged)) if run.pairs else None,
        unigram=_summary(_unigram(corpus, training[:MOST_JUDGED], judged)) if run.pairs else None,
        samples_before=_samples(model, weights, corpus, judged),
        samples_after=_samples(model, learned["model"], corpus, judged),
    )
    write_record(out / REPORT, asdict(report))
    return report


def _split(examples: int, run: TextRun) -> tuple[np.ndarray, np.ndarray]:
    """Which examples are learned from, and which are held out."""
    order = np.random.default_rng(run.seed).permutation(examples)
    held = max(1, round(run.held_out * examples))
    if held >= examples:
        raise TrainingError(f"{examples} examples leave none to learn from")
    return order[held:], order[:held]


def _train(
    run: TextRun,
    model: GPT,
    begin: Any,
    corpus: Corpus,
    training: np.ndarray,
    out: Path,
    told: dict[str, Any],
    progress: Callable[[int, int], None],
) -> Any:
    """The weights."""
    optimiser = falling_adam(run.learning_rate, run.steps)
    state = (begin, optimiser.init(begin))
    step, path = 0, out / CHECKPOINT
    if path.exists():
        known = read_told(path)
        if {name: known.get(name) for name in told} != told:
            raise TrainingError(f"{path} belongs to another run: give another directory")
        state, step = load_tree(path, state), known["step"]

    reference = begin["model"]

    @partial(jax.jit, donate_argnums=0)
    def advance(state: Any, tokens: Array, mask: Array) -> tuple[Any, Array]:
        weights, moments = state
        loss = lambda weights: jnp.mean(losses_of(run, model, weights, reference, tokens, mask)[0])
        value, gradient = jax.value_and_grad(loss)(weights)
        return descend(optimiser, gradient, moments, weights), value

    # `begin` is also the reference: what is donated must not be the same buffers.
    state, good = jax.tree.map(jnp.array, state), step
    kept = lambda: f"the checkpoint of step {good} is kept in {out}" if good else "no checkpoint was written"
    for number, part in _batches(run, model, corpus, training, step):
        state, value = advance(state, part.tokens, part.mask)
        if not math.isfinite(value):
            raise TrainingError(f"the loss is {float(value)} at step {number}; {kept()}")
        if (number + 1) % run.check_every == 0 or number + 1 == run.steps:
            # The loss is that before the step: what it did to the weights is seen here.
            if not all(bool(jnp.isfinite(leaf).all()) for leaf in jax.tree.leaves(state)):
                raise TrainingError(f"the weights are no numbers after step {number}; {kept()}")
            save_tree(path, state, {**told, "step": number + 1})
            good = number + 1
        progress(number + 1, run.steps)
    return state[0]


def _batches(run: TextRun, model: GPT, corpus: Corpus, training: np.ndarray, first: int) -> Iterator[tuple[int, Batch]]:
    """The batches of steps `first` and later. Each epoch has an order of its own, which depends on the seed alone."""
    epoch, order = -1, training
    for number in range(first, run.steps):
        chosen_ones = []
        for place in range(number * run.batch, (number + 1) * run.batch):
            if place // len(training) != epoch:
                epoch = place // len(training)
                order = np.random.default_rng((run.seed, epoch)).permutation(training)
            chosen_ones.append(order[place % len(training)])
        yield number, batch(corpus.read(chosen_ones), model.context)


def losses_of(
    run: TextRun, model: GPT, weights: Any, reference: Any, tokens: Array, mask: Array
) -> tuple[Array, Array]:
    """The loss of every example, and by how much its first completion is preferred to its second: [B] and [B].

    Args: tokens: [B, K, T + 1]; mask: [B, K, T]. Without pairs the second is the mean log-probability of a byte.
    """
    flat, wanted = tokens.reshape(-1, tokens.shape[-1]), mask.reshape(-1, mask.shape[-1])
    by_pair = lambda values: values.reshape(tokens.shape[:2])
    if run.method == "rm":
        hidden = model.hidden(weights["model"], flat[:, :-1])
        # Where the end is expected, everything else has been read.
        last = wanted.shape[1] - 1 - jnp.argmax(wanted[:, ::-1], 1)
        score = by_pair(jnp.take_along_axis(hidden, last[:, None, None], 1)[:, 0] @ weights["head"])
        return jax.vmap(lambda row: plackett_luce(row[None]))(score), score[:, 0] - score[:, 1]

    def log_probs(weights: Any) -> Array:
        return jnp.where(wanted, chosen(next_token_logits(model, weights, flat[:, :-1]), flat[:, 1:]), 0.0)

    ours = log_probs(weights["model"])
    if run.method == "sft":
        each = jax.vmap(cross_entropy)(ours, wanted)
        return each, -each
    h = by_pair((ours - jax.lax.stop_gradient(log_probs(reference))).sum(1))
    margin = h[:, 0] - h[:, 1]
    if run.method == "kto":
        # Completions to other prompts would need a third pass; the batch's own mean is the point of reference.
        return jax.vmap(lambda w, r: kto(w, r, run.beta, h.mean()))(h[:, 0], h[:, 1]), margin
    return jax.vmap(lambda w, r: {"dpo": dpo, "ipo": ipo}[run.method](w, r, run.beta))(h[:, 0], h[:, 1]), margin


def _judge(
    run: TextRun, model: GPT, weights: Any, reference: Any, corpus: Corpus, held: np.ndarray
) -> tuple[list[float], list[float]]:
    """Losses of the examples held out, and 1 where the model prefers what was chosen, 1/2 where it cannot tell."""
    read = jax.jit(partial(losses_of, run, model))
    losses: list[float] = []
    right: list[float] = []
    for place in range(0, len(held), run.batch):
        part = batch(corpus.read(held[place : place + run.batch]), model.context)
        loss, margin = read(weights, reference, part.tokens, part.mask)
        losses += np.asarray(loss).tolist()
        right += (0.5 + 0.5 * np.sign(np.asarray(margin))).tolist()
    return losses, right


def _longer(corpus: Corpus, held: np.ndarray) -> list[float]:
    lengths = [[len(text) for text in example.completions] for example in corpus.read(held)]
    return [0.5 + 0.5 * float(np.sign(first - second)) for first, second in lengths]


def _unigram(corpus: Corpus, training: np.ndarray, held: np.ndarray) -> list[float]:
    """A logistic regression on the difference of the counts of bytes, with a little decay."""

    def apart(indices: np.ndarray) -> np.ndarray:
        count = lambda text: np.bincount(np.frombuffer(text, np.uint8), minlength=256)
        return np.array([count(a) - count(b) for _, (a, b) in corpus.read(indices)], np.float64)

    learned = apart(training)
    scale = np.maximum(learned.std(0), 1e-9)

    def loss(weights: np.ndarray) -> tuple[float, np.ndarray]:
        margin = learned / scale @ weights
        wrong = 0.5 * (1 - np.tanh(0.5 * margin))
        value = np.logaddexp(0, -margin).mean() + 1e-3 * weights @ weights
        return value, -(learned / scale).T @ wrong / len(margin) + 2e-3 * weights

    fitted = minimize(loss, np.zeros(256), jac=True, method="L-BFGS-B").x
    return (0.5 + 0.5 * np.sign(apart(held) / scale @ fitted)).tolist()


def _samples(model: GPT, weights: Any, corpus: Corpus, held: np.ndarray) -> list[dict[str, str]]:
    """What the model says behind a few prompts, as much of their right as leaves room."""
    length = min(SAMPLE_LENGTH, model.context // 2)
    told = []
    for number, example in enumerate(corpus.read(held[:SAMPLED])):
        prompt = [END, *example.prompt][-(model.context - length) :]
        tokens = jnp.asarray([prompt], jnp.int32)
        said = sample(model, weights, jax.random.key(number), tokens, length, END).tokens[0]
        told.append({"prompt": written([token for token in prompt if token != END]), "said": written(said)})
    return told


def _summary(values: list[float]) -> dict[str, float]:
    low, high = interval(values)
    return {"mean": float(np.mean(values)), "low": low, "high": high}
