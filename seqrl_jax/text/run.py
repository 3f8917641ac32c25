"""Train a model on a user's own text or preferences, judge it on prompts held out, and keep what it learned."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jax.sharding import Mesh

from seqrl_jax import hosts
from seqrl_jax.checkpoint import save_tree
from seqrl_jax.files import remove_temporaries
from seqrl_jax.lm.registry import as_json
from seqrl_jax.networks.gpt import GPT
from seqrl_jax.networks.module import Weights
from seqrl_jax.networks.sharding import Layout, initial_weights
from seqrl_jax.runs.interrupt import Interrupt
from seqrl_jax.runs.lock import writing
from seqrl_jax.text.baselines import counted, counts_of, length_of, lengths, preferring
from seqrl_jax.text.corpus import Part
from seqrl_jax.text.encoding import batches_of, prompt_batches_of
from seqrl_jax.text.files import data_files, digest
from seqrl_jax.text.judge import (
    POSITIVE,
    answering,
    losses_and_preferences,
    samples,
    share,
    sign_of_mean,
    sign_of_most,
    summary,
)
from seqrl_jax.text.losses import REWARD_MODEL
from seqrl_jax.text.policy import POLICY_GRADIENTS, LearnedReward
from seqrl_jax.text.prepared import MOST_ANSWERED, prepare, remarks
from seqrl_jax.text.report import Report, as_good_as_counting, as_good_as_pairs, reward_moved, write_report
from seqrl_jax.text.settings import DEFAULT_CONTEXT, Files, ModelSettings, TextRun, TrainingError
from seqrl_jax.text.tokenizer import BESIDE
from seqrl_jax.text.training import (
    CHECKPOINT,
    ONE_DEVICE,
    Moment,
    Trained,
    batch_of_step,
    descent,
    keys_of,
    packed_descent,
    policy_gradient,
    train,
)
from seqrl_jax.text.vocabulary import Bytes, Vocabulary
from seqrl_jax.text.weights import (
    CONFIG,
    HEAD,
    WEIGHTS,
    TokenSettings,
    load_gpt,
    load_head,
    load_token_settings,
    load_vocabulary,
    save_gpt,
    weight_files,
)

LOCK = ".running"
BY_DEFAULT = ModelSettings()


class Begun(NamedTuple):
    """A model before training, and what it reads texts with.

    context: tokens of a text at most. settings: what its files say of tokens; None of a new model.
    """

    model: GPT
    weights: Weights
    vocabulary: Vocabulary
    context: int
    settings: TokenSettings | None = None


def run_text(
    run: TextRun,
    files: Files,
    out: Path,
    sizes: ModelSettings = BY_DEFAULT,
    skip_bad: bool = False,
    progress: Callable[[Moment], None] = lambda moment: None,
    tell: Callable[[str], None] = lambda line: None,
    interrupt: Interrupt | None = None,
    layout: Layout = ONE_DEVICE,
) -> Report:
    """Train, or go on where a run with the same settings was stopped or ended, and write into `out`: the weights under
    GPT-2's names with their tokenizer, the checkpoint, and the report.

    Args: skip_bad: count bad lines instead of refusing them. tell: is given a line for whatever of the data is not
        learned from as it stands, before the first step. layout: of the devices to train on.
    Raises: DataError for a bad line; TrainingError where a method lacks the model or the reward that it needs,
        where packing meets another kernel of attention than `xla`, where
        `out` holds another run's checkpoint, or where the loss is no number (the last good checkpoint is kept);
        ImportError, with the command that installs it, where an extra is missing; Interrupted. Of several processes
        (`hosts`) all call this and read the same files, and the first writes; EndedElsewhere where another one raised.
    """
    with hosts.together():
        _check(run, files, out, sizes, layout)
        begun = _begin(run, files.start, sizes, layout.mesh())
        reward_model = None if files.reward is None else _reward_model(files.reward, begun, layout.mesh())
        data = prepare(run, files, begun.vocabulary, begun.context, skip_bad)
        for line in remarks(run, files, data):
            tell(line)
        identity: dict[str, Any] = {"run": run.identity(), "model": as_json(begun.model), "data": data.corpus.digest}
        identity |= {"test": None if data.tested is None else data.tested.digest, "start": _digest(files.start)}
        identity |= {"reward": _digest(files.reward)}
    hosts.require_same("their data, weights or settings", identity)
    with hosts.held_by_first(writing(out, out / LOCK / "lock")):
        hosts.on_first(lambda: remove_temporaries(out))
        fit = partial(
            train,
            run,
            batch_of=partial(batch_of_step, run, data.training, begun.context, data.packing),
            out=out,
            identity=identity,
            progress=progress,
            interrupt=interrupt,
            layout=layout,
        )
        if reward_model is None:
            if data.packing is None:
                stage = descent(run, begun.model, begun.weights, data.training)
            else:
                stage = packed_descent(run, begun.model, begun.weights, data.training, data.packing)
            trained = fit(stage=stage)
            measured = _judged(run, begun, trained, data.training, data.judged)
        else:
            reward = _normalised(run, begun, reward_model, data.training.some(MOST_ANSWERED))
            trained = fit(stage=policy_gradient(run, begun.model, begun.weights, reward))
            measured = _answers_judged(run, begun, trained, reward, data.judged)
        learned = trained.weights["model"]
        save_gpt(out, begun.model, learned, begun.vocabulary, begun.settings)
        if run.method == REWARD_MODEL:
            save_tree(out / HEAD, trained.weights["head"], {})
        else:
            measured["samples_before"] = samples(begun.model, begun.weights, data.judged, begun.context)
            measured["samples_after"] = samples(begun.model, learned, data.judged, begun.context)
        report = Report(
            method=run.method,
            steps=run.steps,
            planned=trained.planned,
            examples=len(data.corpus),
            prompts=len(np.unique(data.corpus.topics)),
            duplicates=data.corpus.duplicates,
            skipped=data.corpus.skipped,
            disliked=data.corpus.disliked,
            held_out=len(data.held),
            judged=len(data.judged),
            shared_prompts=data.overlap,
            truncated=data.truncated,
            padding=None if data.packing is None else data.packing.padding,
            curve=trained.curve,
            **measured,
        )
        hosts.on_first(lambda: write_report(out, report))
    return report


def _check(run: TextRun, files: Files, out: Path, sizes: ModelSettings, layout: Layout) -> None:
    """What can be refused before anything is read."""
    if not (out / CHECKPOINT).exists() and (foreign := [name for name in (WEIGHTS, CONFIG) if (out / name).exists()]):
        raise TrainingError(f"{out}: holds {foreign[0]}, which no run here wrote; name another directory")
    for directory in (files.start, files.reward):
        if directory is not None and directory.resolve() == out.resolve():
            raise TrainingError(f"{out}: the run would write over the weights that it reads; name another directory")
    if files.start is not None and (files.start / HEAD).exists():
        raise TrainingError(f"{files.start}: a reward model says nothing, so that no run begins with it")
    if files.start is None and run.needs_start:
        raise TrainingError(f"{run.method} compares with a model: say which, by its directory (--init)")
    if files.reward is not None and not run.draws_answers:
        raise TrainingError(f"{run.method} maximises no reward; {', '.join(POLICY_GRADIENTS)} do")
    if files.reward is None and run.draws_answers:
        raise TrainingError(f"{run.method} maximises a reward: say which, by the directory of a run of rm (--reward)")
    if files.reward is not None and not (files.reward / HEAD).exists():
        raise TrainingError(f"{files.reward}: no reward model, for want of {HEAD}, which rm writes")
    read = run.batch // run.group if run.draws_answers else run.batch
    if read % layout.data:
        what = "prompts" if run.draws_answers else "examples"
        raise TrainingError(f"a batch of {read} {what} does not divide over the {layout.data} parts of the mesh")
    layout.mesh()
    if run.packing and sizes.attention != "xla":
        raise TrainingError(f"attention is {sizes.attention}, and only xla keeps packed texts from each other")
    for path in (files.data, files.test):
        if path is not None:
            data_files(path)


def _begin(run: TextRun, start: Path | None, sizes: ModelSettings, mesh: Mesh) -> Begun:
    """The model to begin with: that of a directory, or a new one that reads bytes."""
    if start is None:
        vocabulary: Vocabulary = Bytes()
        context = run.context or DEFAULT_CONTEXT
        model = sizes.new(vocabulary.size, context)
        begun = Begun(model, initial_weights(mesh, model, keys_of(run).weights), vocabulary, context)
    else:
        loaded, weights = load_gpt(start, mesh)
        model = sizes.as_computed(loaded)
        if run.context is not None and run.context > model.context:
            raise TrainingError(f"context is {run.context}, and {model.context} of the weights to begin with")
        context = run.context or model.context
        begun = Begun(model, weights, load_vocabulary(start), context, load_token_settings(start))
    if run.draws_answers and run.answer >= begun.context:
        raise TrainingError(f"a context of {begun.context} has no room for answers of {run.answer} tokens")
    return begun


def _reward_model(directory: Path, begun: Begun, mesh: Mesh) -> LearnedReward:
    """The reward model of a directory, as it scores."""
    body, weights = load_gpt(directory, mesh)
    theirs = load_vocabulary(directory)
    if theirs.end != begun.vocabulary.end or dict(theirs.files()) != dict(begun.vocabulary.files()):
        raise TrainingError(f"{directory}: another tokenizer than that of the weights to begin with")
    if body.context < begun.context:
        raise TrainingError(f"{directory}: a context of {body.context}, where {begun.context} tokens are read")
    head = load_head(directory, body)
    computed = body.clone(dtype=begun.model.dtype, attention=begun.model.attention)
    return LearnedReward(computed, begun.vocabulary.end, {"model": weights, "head": head})


def _normalised(run: TextRun, begun: Begun, raw: LearnedReward, prompts: Part) -> LearnedReward:
    """The reward in deviations of what it says of pi_0's answers to each of some prompts."""
    batches = prompt_batches_of(prompts, run.batch, begun.context, run.answer)
    judge = answering(begun.model, begun.weights, raw)
    one, other = (judge(begun.weights, batches, draw).plain for draw in range(2))
    return raw.normalised(one, other, run.missing_end)


def _judged(run: TextRun, begun: Begun, trained: Trained, training: Part, judged: Part) -> dict[str, Any]:
    """What losses and preferences say of a model, and baselines beside it."""
    batches = batches_of(judged, run.batch, begun.context, run.crosses)
    labelled, end = judged.corpus.form == "label", begun.vocabulary.end
    losses, right = losses_and_preferences(
        run.method, run.price, begun.model, trained.weights, begun.weights, batches, end, labelled
    )
    topics, prompts = judged.topics, len(np.unique(judged.topics))
    if not run.prefers:
        tokens = np.array([judged.corpus.answer(index, 0)[1].sum() for index in judged.indices])
        per_byte = losses * tokens / np.maximum(lengths(judged), 1)
        counts = counted(training, judged)
        return {
            "loss": summary(losses, topics, POSITIVE),
            "per_byte": summary(per_byte, topics, POSITIVE),
            "unigram": summary(counts.unigram, topics, POSITIVE),
            "bigram": summary(counts.bigram, topics, POSITIVE),
            "verdict": as_good_as_pairs(sign_of_mean(summary(counts.bigram - per_byte, topics)), prompts),
        }
    longer, counting = (preferring(features, training, judged) for features in (length_of, counts_of))
    indifferent = {"ipo": 1 / (2 * run.price) ** 2, "kto": 0.5} if run.method in ("ipo", "kto") else {}
    return {
        "loss": summary(losses, topics, POSITIVE),
        "indifferent": indifferent.get(run.method, math.log(2)),
        "accuracy": share(right, topics),
        "longer": share(longer, topics),
        "bytes": share(counting, topics),
        "verdict": as_good_as_counting(run.method, sign_of_most(right - counting, topics), prompts),
    }


def _answers_judged(
    run: TextRun, begun: Begun, trained: Trained, reward: LearnedReward, judged: Part
) -> dict[str, Any]:
    """What a policy's answers are like, beside those before training."""
    batches = prompt_batches_of(judged, run.batch, begun.context, run.answer)
    judge = answering(begun.model, begun.weights, reward)
    before, after = judge(begun.weights, batches), judge(trained.weights["model"], batches)
    topics = judged.topics
    gained = summary(after.reward - before.reward, topics)
    return {
        "reward_before": summary(before.reward, topics),
        "reward": summary(after.reward, topics),
        "plain_reward": summary(after.plain, topics),
        "gained": gained,
        "kl": summary(after.kl, topics, POSITIVE),
        "ended_before": share(before.ended, topics),
        "ended": share(after.ended, topics),
        "length_before": summary(before.length, topics, POSITIVE),
        "length": summary(after.length, topics, POSITIVE),
        "verdict": reward_moved(sign_of_mean(gained), len(np.unique(topics))),
    }


def _digest(directory: Path | None) -> str | None:
    """Of all that makes the model in a directory."""
    if directory is None:
        return None
    beside = (directory / name for name in (CONFIG, HEAD, *BESIDE))
    return digest([*weight_files(directory), *(path for path in beside if path.exists())])
