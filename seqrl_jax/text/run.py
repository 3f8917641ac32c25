"""Train a byte model on a user's own text or preferences, judge it on examples held out, and keep what it learned."""

from __future__ import annotations

import dataclasses
import hashlib
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array

from seqrl_jax.checkpoint import load_tree, read_metadata, save_tree
from seqrl_jax.keys import key_of
from seqrl_jax.lm.policy_gradient import PolicyGradient
from seqrl_jax.lm.registry import as_json
from seqrl_jax.lm.training import falling_adam, gradient_step
from seqrl_jax.naming import check, require
from seqrl_jax.networks.gpt import GPT
from seqrl_jax.networks.module import Weights
from seqrl_jax.results.provenance import write_measurement
from seqrl_jax.settings import Count, Part, PositiveFloat, Seed, Weight
from seqrl_jax.text.corpus import (
    VOCABULARY,
    Corpus,
    Example,
    TokenBatch,
    prompt_batch,
    scan,
    token_batch,
    with_answers_of_others,
)
from seqrl_jax.text.judge import (
    Summary,
    answering,
    longer,
    losses_and_preferences,
    samples,
    summary,
    unigram,
)
from seqrl_jax.text.losses import PREFERENCES, REWARD_MODEL, SUPERVISED, losses_of
from seqrl_jax.text.policy import POLICY_GRADIENTS, LearnedReward, collect
from seqrl_jax.text.weights import WEIGHTS, load_gpt, save_gpt

METHODS = (SUPERVISED, REWARD_MODEL, *PREFERENCES, *POLICY_GRADIENTS)
CHECKPOINT, HEAD, REPORT = "training.safetensors", "head.safetensors", "report.json"
MOST_JUDGED, MOST_ANSWERED = 2000, 256
"""Held-out examples, and pairs for the baseline, at most; and prompts that are answered to judge or normalise."""


class TrainingError(ValueError):
    """A run that cannot go on."""


@dataclass(frozen=True)
class TextRun:
    """What is trained, and how.

    Attributes:
        method: `sft`; `rm`; `dpo`, `ipo`, `kto`; or `ppo`, `rloo`, `grpo`, `dr_grpo`. steps: gradient steps, or
            batches of answers. batch: examples, or answers, in each. learning_rate: of Adam, falling to 0.
        beta: of the preference losses (.1), or the price of the KL (.05). held_out: share of the examples.
        check_every: steps between checkpoints. seed: of weights, of the split and of the order of examples.
        group, answer, missing_end: of the policy gradients: answers to each prompt, bytes of an answer at most, and
            the price of one that does not end, in deviations of the reward under pi_0.
    """

    method: str = "sft"
    steps: Count = 1000
    batch: Count = 16
    learning_rate: PositiveFloat = 0.0005
    beta: Weight | None = None
    held_out: Part = 0.1
    check_every: Count = 100
    seed: Seed = 0
    group: Count = 8
    answer: Count = 64
    missing_end: Weight = 1.0

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise TrainingError(f"unknown method {self.method!r}, expected one of {', '.join(METHODS)}")
        check(self)
        if not 0 < self.held_out < 1:
            raise TrainingError(f"held_out is {self.held_out}, expected a share between 0 and 1")
        if self.draws_answers and (self.group < 2 or self.batch % self.group):
            raise TrainingError(f"a batch of {self.batch} answers has no groups of {self.group}, of two at least")

        why = "a preference loss of no price asks for nothing"
        require(self.method not in PREFERENCES or self.price > 0, why, method=self.method, beta=self.beta)

    @property
    def draws_answers(self) -> bool:
        """Whether it is a policy gradient, which climbs the reward of answers that it draws."""
        return self.method in POLICY_GRADIENTS

    @property
    def pairs(self) -> bool:
        """Whether it learns from preferences."""
        return self.method in (REWARD_MODEL, *PREFERENCES)

    @property
    def price(self) -> float:
        """beta, or what stands for it."""
        return (0.05 if self.draws_answers else 0.1) if self.beta is None else self.beta

    @property
    def policy(self) -> PolicyGradient:
        """The policy gradient with these settings."""
        return dataclasses.replace(
            POLICY_GRADIENTS[self.method],
            kl_coef=self.price,
            prompts=self.batch // self.group,
            group=self.group,
            learning_rate=self.learning_rate,
            updates=self.steps,
        )

    def arrays(self, examples: Sequence[Example], context: int) -> TokenBatch:
        """Examples as this method reads them."""
        if self.draws_answers:
            return prompt_batch(examples, context, self.answer)
        return token_batch(with_answers_of_others(examples) if self.method == "kto" else examples, context)


@dataclass(frozen=True)
class Report:
    """What was found on the examples held out: {"mean", "low", "high"}, 95% bootstrap intervals.

    truncated: examples longer than the context. loss: nats per byte (sft) or per pair. accuracy: how often the model
    prefers what was chosen; longer: how often that is the longer answer; unigram: what a logistic regression on counts
    of bytes gets right. reward_before, reward, kl: of answers, in deviations of the reward under pi_0, and nats per
    answer. None where a method has no such thing.
    """

    steps: int
    examples: int
    held_out: int
    skipped: int
    truncated: int
    loss: Summary | None = None
    accuracy: Summary | None = None
    longer: Summary | None = None
    unigram: Summary | None = None
    reward_before: Summary | None = None
    reward: Summary | None = None
    kl: Summary | None = None
    samples_before: list[dict[str, str]] = dataclasses.field(default_factory=list)
    samples_after: list[dict[str, str]] = dataclasses.field(default_factory=list)


class Stage(NamedTuple):
    """How a method trains.

    begin: the weights before the first step, {"model", ...}. fixed: arrays that no step changes, such as pi_0.
    step: (weights and optimiser's state, fixed, key, tokens, mask) -> the first after the step, and the loss before it.
    """

    begin: Any
    fixed: Any
    optimiser: optax.GradientTransformation
    step: Callable[[Any, Any, Array, Array, Array], tuple[Any, Array]]


class Keys(NamedTuple):
    """Of the initial weights of the model and of a reward model's head, and of the steps."""

    weights: Array
    head: Array
    steps: Array


def run_text(
    run: TextRun,
    data: Path,
    out: Path,
    model: GPT | None = None,
    start: Path | None = None,
    skip_bad: bool = False,
    progress: Callable[[int, int], None] = lambda done, total: None,
    reward: Path | None = None,
) -> Report:
    """Train, keep checkpoints in `out`, go on from the last one if there is one, and judge.

    Args: model: its sizes where no `start`, a directory that `save_gpt` wrote, gives the weights to begin with.
        reward: the directory of a run of `rm`, which a policy gradient climbs.
    Raises: DataError for a bad line; TrainingError where a method lacks the model or the reward that it needs, where
        `out` holds another run's checkpoint, or where the loss is no number (the last good checkpoint is kept).
    """
    corpus = scan(data, run.pairs, skip_bad)
    training, held = _split(len(corpus), run)
    if start is None and (run.draws_answers or run.method in PREFERENCES):
        raise TrainingError(f"{run.method} compares with a model: say which, by its directory")
    if reward is not None and not run.draws_answers:
        raise TrainingError(f"{run.method} climbs no reward; {', '.join(POLICY_GRADIENTS)} do")
    if start is not None:
        loaded, weights = load_gpt(start)
        if loaded.vocabulary != VOCABULARY:
            raise TrainingError(f"{start}: a vocabulary of {loaded.vocabulary}, where bytes need {VOCABULARY}")
        # Sizes are those of the weights; how they are multiplied is asked for now.
        model = loaded if model is None else _multiplied_alike(loaded, model)
    else:
        assert model is not None
        weights = model.initial_weights(_keys(run).weights)
    judged = held[:MOST_JUDGED]
    metadata: dict[str, Any] = {"run": asdict(run), "model": as_json(model), "data": corpus.digest}
    metadata |= {"start": _digest(start, WEIGHTS), "reward": _digest(reward, WEIGHTS, HEAD)}
    train = partial(_train, run, model, corpus=corpus, training=training, out=out, metadata=metadata, progress=progress)
    if run.draws_answers:
        learned_reward = _reward(run, reward, model, weights, corpus, training[:MOST_ANSWERED])
        learned = train(_policy_gradient(run, model, weights, learned_reward))
        batches = _batches_of(run, model, corpus, judged[:MOST_ANSWERED])
        judge = answering(model, weights, learned_reward)
        before, (after, log_ratios) = judge(weights, batches)[0], judge(learned["model"], batches)
        truncated = corpus.truncated_prompts(model.context, run.answer)
        measured = {"reward_before": summary(before), "reward": summary(after), "kl": summary(log_ratios)}
    else:
        learned = train(_descent(run, model, weights))
        batches = _batches_of(run, model, corpus, judged)
        losses, right = losses_and_preferences(run.method, run.price, model, learned, weights, batches)
        truncated = corpus.truncated(model.context)
        measured = {"loss": summary(losses)}
        if run.pairs:
            baselines = longer(corpus, judged), unigram(corpus, training[:MOST_JUDGED], judged)
            measured |= dict(zip(("accuracy", "longer", "unigram"), map(summary, (right, *baselines)), strict=True))
    save_gpt(out, model, learned["model"])
    if run.method == REWARD_MODEL:
        save_tree(out / HEAD, learned["head"], {})
    report = Report(
        steps=run.steps,
        examples=len(corpus),
        held_out=len(held),
        skipped=corpus.skipped,
        truncated=truncated,
        **measured,
        samples_before=samples(model, weights, corpus, judged),
        samples_after=samples(model, learned["model"], corpus, judged),
    )
    write_measurement(out / REPORT, asdict(report))
    return report


def _multiplied_alike(loaded: GPT, asked: GPT) -> GPT:
    """The loaded model, computed as the other one is."""
    return loaded.clone(dtype=asked.dtype, remat=asked.remat, attention=asked.attention)


def _keys(run: TextRun) -> Keys:
    return Keys(*jax.random.split(key_of(run.seed), 3))


def _split(examples: int, run: TextRun) -> tuple[np.ndarray, np.ndarray]:
    """Which examples are learned from, and which are held out."""
    order = np.random.default_rng(run.seed).permutation(examples)
    held = max(1, round(run.held_out * examples))
    if held >= examples:
        raise TrainingError(f"{examples} examples leave none to learn from")
    return order[held:], order[:held]


def _digest(directory: Path | None, *names: str) -> str | None:
    """Of the files of a directory that stand there."""
    if directory is None:
        return None
    contents = [path.read_bytes() for path in (directory / name for name in names) if path.exists()]
    return hashlib.sha256(b"".join(contents)).hexdigest()


def _descent(run: TextRun, model: GPT, weights: Weights) -> Stage:
    """Gradient descent on the losses of examples."""
    optimiser = falling_adam(run.learning_rate, run.steps)
    begin = {"model": weights}
    if run.method == REWARD_MODEL:
        begin["head"] = jax.random.normal(_keys(run).head, (model.width,)) / model.width**0.5

    def step(state: Any, reference: Any, key: Array, tokens: Array, mask: Array) -> tuple[Any, Array]:
        loss = lambda learned: losses_of(run.method, run.price, model, learned, reference, tokens, mask)[0].mean()
        return gradient_step(optimiser, loss, *state)

    return Stage(begin, weights, optimiser, step)


def _policy_gradient(run: TextRun, model: GPT, weights: Weights, reward: LearnedReward) -> Stage:
    """A policy gradient on a reward."""
    policy = run.policy
    optimiser = policy.optimiser()

    def step(state: Any, fixed: Any, key: Array, tokens: Array, mask: Array) -> tuple[Any, Array]:
        collect_key, order_key = jax.random.split(key)
        reference, reward = fixed
        rollout = collect(policy, model, state[0], reference, reward, collect_key, tokens[:, 0], mask[:, 0])
        state, losses = policy.learn(order_key, model, optimiser, state, rollout)
        return state, losses.mean()

    begin = {"model": weights, "value": jnp.zeros(model.width)}
    return Stage(begin, (weights, reward), optimiser, step)


def _reward(
    run: TextRun, directory: Path | None, model: GPT, weights: Weights, corpus: Corpus, prompts: np.ndarray
) -> LearnedReward:
    """What the reward model of a directory says, in deviations of what it says of pi_0's answers to these prompts."""
    if directory is None:
        raise TrainingError(f"{run.method} climbs a reward: say which, by the directory of a run of rm")
    if not (directory / HEAD).exists():
        raise TrainingError(f"{directory}: no reward model, for want of {HEAD}, which rm writes")
    body, learned = load_gpt(directory)
    if body.vocabulary != VOCABULARY or body.context < model.context:
        sizes = f"{body.vocabulary} tokens and a context of {body.context}"
        raise TrainingError(f"{directory}: {sizes}, where {VOCABULARY} and {model.context} are read")
    if run.answer + 2 > model.context:
        raise TrainingError(f"a context of {model.context} has no room for answers of {run.answer} bytes")
    raw = LearnedReward(body, {"model": learned, "head": load_tree(directory / HEAD, jnp.zeros(body.width))})
    said, _ = answering(model, weights, raw)(weights, _batches_of(run, model, corpus, prompts))
    return raw.normalised(said, run.missing_end)


def _train(
    run: TextRun,
    model: GPT,
    stage: Stage,
    corpus: Corpus,
    training: np.ndarray,
    out: Path,
    metadata: dict[str, Any],
    progress: Callable[[int, int], None],
) -> Any:
    """The weights after the last step."""
    state = (stage.begin, stage.optimiser.init(stage.begin))
    step, path = 0, out / CHECKPOINT
    out.mkdir(parents=True, exist_ok=True)
    if path.exists():
        written = read_metadata(path)
        if {name: written.get(name) for name in metadata} != metadata:
            raise TrainingError(f"{path} belongs to another run: give another directory")
        state, step = load_tree(path, state), written["step"]
    advance = jax.jit(stage.step, donate_argnums=0)
    # The weights are also the reference: what is donated must not be the same buffers.
    state, good = jax.tree.map(jnp.array, state), step
    last_good = lambda: f"the checkpoint of step {good} is kept in {out}" if good else "no checkpoint was written"
    key = _keys(run).steps
    for number, part in _batches(run, model, corpus, training, step):
        state, value = advance(state, stage.fixed, jax.random.fold_in(key, number), part.tokens, part.mask)
        if not math.isfinite(value):
            raise TrainingError(f"the loss is {float(value)} at step {number}; {last_good()}")
        if (number + 1) % run.check_every == 0 or number + 1 == run.steps:
            # The loss is that before the step: what it did to the weights is seen here.
            if not all(bool(jnp.isfinite(leaf).all()) for leaf in jax.tree.leaves(state)):
                raise TrainingError(f"the weights are no numbers after step {number}; {last_good()}")
            save_tree(path, state, {**metadata, "step": number + 1})
            good = number + 1
        progress(number + 1, run.steps)
    return state[0]


def _batches(
    run: TextRun, model: GPT, corpus: Corpus, training: np.ndarray, first: int
) -> Iterator[tuple[int, TokenBatch]]:
    """The batches of steps `first` and later. Each epoch has an order of its own, which depends on the seed alone."""
    epoch, order = -1, training
    examples = run.policy.prompts if run.draws_answers else run.batch
    for number in range(first, run.steps):
        chosen_ones = []
        for place in range(number * examples, (number + 1) * examples):
            if place // len(training) != epoch:
                epoch = place // len(training)
                order = np.random.default_rng((run.seed, epoch)).permutation(training)
            chosen_ones.append(order[place % len(training)])
        yield number, run.arrays(corpus.read(chosen_ones), model.context)


def _batches_of(run: TextRun, model: GPT, corpus: Corpus, indices: np.ndarray) -> list[TokenBatch]:
    """These examples, each once."""
    parts = (indices[place : place + run.batch] for place in range(0, len(indices), run.batch))
    return [run.arrays(corpus.read(part), model.context) for part in parts]
