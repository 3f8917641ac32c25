"""Train a model on a user's own text or preferences, judge it on prompts held out, and keep what it learned."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from seqrl_jax import hosts
from seqrl_jax.checkpoint import load_tree, save_tree
from seqrl_jax.files import remove_temporaries
from seqrl_jax.lm.registry import as_json
from seqrl_jax.networks.gpt import GPT
from seqrl_jax.networks.module import Weights
from seqrl_jax.networks.sharding import Layout, initial_weights
from seqrl_jax.runs.interrupt import Interrupt
from seqrl_jax.runs.lock import writing
from seqrl_jax.text.baselines import counted, counts_of, length_of, lengths, preferring
from seqrl_jax.text.corpus import Corpus, Part, scan
from seqrl_jax.text.encoding import batches_of
from seqrl_jax.text.judge import answering, losses_and_preferences, samples, share, summary
from seqrl_jax.text.losses import REWARD_MODEL
from seqrl_jax.text.packing import Packing, pack
from seqrl_jax.text.policy import POLICY_GRADIENTS, LearnedReward
from seqrl_jax.text.report import Report, as_good_as_counting, as_good_as_pairs, climbed, read_report, write_report
from seqrl_jax.text.settings import DEFAULT_CONTEXT, ModelSettings, TextRun, TrainingError
from seqrl_jax.text.splitting import shared, split
from seqrl_jax.text.training import (
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
from seqrl_jax.text.weights import CONFIG, HEAD, WEIGHTS, load_gpt, load_vocabulary, save_gpt

MOST_JUDGED, MOST_ANSWERED = 2000, 256
"""Examples that judge at most, and prompts that are answered to judge or to normalise a reward."""
LOCK = ".running"
BY_DEFAULT = ModelSettings()


class Files(NamedTuple):
    """What a run reads. test: what judges, instead of a part of the data. start: a directory of weights to begin with.
    reward: the directory of a run of `rm`, which a policy gradient climbs."""

    data: Path
    test: Path | None = None
    start: Path | None = None
    reward: Path | None = None


class Begun(NamedTuple):
    """A model before training, and what it reads texts with. context: tokens of a text at most."""

    model: GPT
    weights: Weights
    vocabulary: Vocabulary
    context: int


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
        _check(run, files, sizes, layout)
        begun = _begin(run, files.start, sizes, layout.mesh())
        reward_model = None if files.reward is None else _reward_model(files.reward, begun, layout.mesh())
        corpus = scan(files.data, run.reads, begun.vocabulary, begun.context, skip_bad)
        tested = None if files.test is None else scan(files.test, run.reads, begun.vocabulary, begun.context, skip_bad)
        if tested is None:
            training, held = split(corpus, run.held_out)
        else:
            if tested.form != corpus.form:
                raise TrainingError(f"{files.test} holds {tested.form}s, where {files.data} holds {corpus.form}s")
            training, held = _whole(corpus), _whole(tested)
        overlap = 0 if tested is None else shared(corpus, tested)
        judged = _some(held, MOST_ANSWERED if run.draws_answers else MOST_JUDGED)
        truncated = _truncated(run, begun, training) + _truncated(run, begun, held)
        packing = pack(training, begun.context, run.seed) if run.packing else None
        for line in _remarks(run, begun, files, corpus, tested, truncated, overlap, packing):
            tell(line)
        identity: dict[str, Any] = {"run": run.identity(), "model": as_json(begun.model), "data": corpus.digest}
        identity |= {"test": None if tested is None else tested.digest, "start": _digest(files.start)}
        identity |= {"reward": _digest(files.reward)}
    hosts.require_same("their data, weights or settings", identity)
    with hosts.held_by_first(writing(out, out / LOCK / "lock")):
        hosts.on_first(lambda: remove_temporaries(out))
        fit = partial(
            train,
            run,
            batch_of=partial(batch_of_step, run, training, begun.context, packing),
            out=out,
            identity=identity,
            progress=progress,
            interrupt=interrupt,
            layout=layout,
        )
        if reward_model is None:
            if packing is None:
                stage = descent(run, begun.model, begun.weights, training)
            else:
                stage = packed_descent(run, begun.model, begun.weights, training, packing)
            trained = fit(stage=stage)
            measured = _judged(run, begun, trained, training, judged)
        else:
            reward = _normalised(run, begun, reward_model, _some(training, MOST_ANSWERED))
            trained = fit(stage=policy_gradient(run, begun.model, begun.weights, reward))
            measured = _answers_judged(run, begun, trained, reward, judged)
        learned = trained.weights["model"]
        save_gpt(out, begun.model, learned, begun.vocabulary)
        if run.method == REWARD_MODEL:
            save_tree(out / HEAD, trained.weights["head"], {})
        else:
            measured["samples_before"] = samples(begun.model, begun.weights, judged, begun.context)
            measured["samples_after"] = samples(begun.model, learned, judged, begun.context)
        report = Report(
            method=run.method,
            steps=run.steps,
            planned=trained.planned,
            examples=len(corpus),
            prompts=len(np.unique(corpus.topics)),
            duplicates=corpus.duplicates,
            skipped=corpus.skipped,
            disliked=corpus.disliked,
            held_out=len(held),
            judged=len(judged),
            shared_prompts=overlap,
            truncated=truncated,
            padding=None if packing is None else packing.padding,
            curve=trained.curve,
            **measured,
        )
        hosts.on_first(lambda: write_report(out, report))
    return report


def _check(run: TextRun, files: Files, sizes: ModelSettings, layout: Layout) -> None:
    """What can be refused before anything is read."""
    if files.start is None and run.needs_start:
        raise TrainingError(f"{run.method} compares with a model: say which, by its directory (--init)")
    if files.reward is not None and not run.draws_answers:
        raise TrainingError(f"{run.method} climbs no reward; {', '.join(POLICY_GRADIENTS)} do")
    if files.reward is None and run.draws_answers:
        raise TrainingError(f"{run.method} climbs a reward: say which, by the directory of a run of rm (--reward)")
    if files.reward is not None and not (files.reward / HEAD).exists():
        raise TrainingError(f"{files.reward}: no reward model, for want of {HEAD}, which rm writes")
    read = run.batch // run.group if run.draws_answers else run.batch
    if read % layout.data:
        what = "prompts" if run.draws_answers else "examples"
        raise TrainingError(f"a batch of {read} {what} does not divide over the {layout.data} parts of the mesh")
    layout.mesh()
    if run.packing and sizes.attention != "xla":
        raise TrainingError(f"attention is {sizes.attention}, and only xla keeps packed texts from each other")


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
        begun = Begun(model, weights, load_vocabulary(start), run.context or model.context)
    if run.draws_answers and run.answer + 2 > begun.context:
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
    head = load_tree(directory / HEAD, jnp.zeros(body.width))
    computed = body.clone(dtype=begun.model.dtype, attention=begun.model.attention)
    return LearnedReward(computed, begun.vocabulary.end, {"model": weights, "head": head})


def _normalised(run: TextRun, begun: Begun, raw: LearnedReward, prompts: Part) -> LearnedReward:
    """The reward in deviations of what it says of pi_0's answers to some prompts."""
    batches = batches_of(prompts, run.batch, begun.context, length=run.answer)
    said = answering(begun.model, begun.weights, raw)(begun.weights, batches)
    return raw.normalised(said.plain.tolist(), run.missing_end)


def _judged(run: TextRun, begun: Begun, trained: Trained, training: Part, judged: Part) -> dict[str, Any]:
    """What losses and preferences say of a model, and baselines beside it."""
    batches = batches_of(judged, run.batch, begun.context, run.crosses)
    labelled, end = judged.corpus.form == "label", begun.vocabulary.end
    losses, right = losses_and_preferences(
        run.method, run.price, begun.model, trained.weights, begun.weights, batches, end, labelled
    )
    topics = judged.topics
    if not run.prefers:
        tokens = np.array([judged.corpus.answer(index, 0)[1].sum() for index in judged.indices])
        per_byte = losses * tokens / np.maximum(lengths(judged), 1)
        counts = counted(training, judged)
        return {
            "loss": summary(losses, topics),
            "per_byte": summary(per_byte, topics),
            "unigram": summary(counts.unigram, topics),
            "bigram": summary(counts.bigram, topics),
            "verdict": as_good_as_pairs(summary(counts.bigram - per_byte, topics)),
        }
    longer, counting = (preferring(features, training, judged) for features in (length_of, counts_of))
    indifferent = {"ipo": 1 / (2 * run.price) ** 2, "kto": 0.5} if run.method in ("ipo", "kto") else {}
    return {
        "loss": summary(losses, topics),
        "indifferent": indifferent.get(run.method, math.log(2)),
        "accuracy": share(right, topics),
        "longer": share(longer, topics),
        "bytes": share(counting, topics),
        "verdict": as_good_as_counting(run.method, summary(right - counting, topics)),
    }


def _answers_judged(
    run: TextRun, begun: Begun, trained: Trained, reward: LearnedReward, judged: Part
) -> dict[str, Any]:
    """What a policy's answers are like, beside those before training."""
    batches = batches_of(judged, run.batch, begun.context, length=run.answer)
    judge = answering(begun.model, begun.weights, reward)
    before, after = judge(begun.weights, batches), judge(trained.weights["model"], batches)
    topics = judged.topics
    gained = summary(after.reward - before.reward, topics)
    return {
        "reward_before": summary(before.reward, topics),
        "reward": summary(after.reward, topics),
        "plain_reward": summary(after.plain, topics),
        "gained": gained,
        "kl": summary(after.kl, topics),
        "ended_before": share(before.ended, topics),
        "ended": share(after.ended, topics),
        "length_before": summary(before.length, topics),
        "length": summary(after.length, topics),
        "verdict": climbed(gained),
    }


def _remarks(
    run: TextRun,
    begun: Begun,
    files: Files,
    corpus: Corpus,
    tested: Corpus | None,
    truncated: int,
    overlap: int,
    packing: Packing | None,
) -> list[str]:
    """What a user should know of the data before the first step."""
    remarks = []
    for read in (corpus, tested):
        if read is None:
            continue
        path = files.data if read is corpus else files.test
        if read.other_files:
            remarks.append(f"{path}: files that are not read: {', '.join(read.other_files)}")
        if read.unread:
            counts = ", ".join(f"{name} ({count} times)" for name, count in sorted(read.unread.items()))
            remarks.append(f"{path}: fields that are not read: {counts}")
        if read.skipped:
            remarks.append(f"{path}: {read.skipped} bad lines are left out")
        if read.disliked:
            remarks.append(
                f"{path}: {read.disliked} answers that are labelled bad are left out, as {run.method} imitates"
            )
        if read.duplicates:
            remarks.append(f"{path}: {read.duplicates} of {len(read)} examples stand there before")
    if truncated:
        room = f" with room for answers of {run.answer}" if run.draws_answers else ""
        remarks.append(f"{truncated} examples are longer than the context of {begun.context} tokens{room} and are cut")
    if packing is not None:
        rows = f"{len(packing)} rows of {begun.context} tokens, {packing.padding:.1%} of them padding"
        remarks.append(f"{len(packing.texts)} texts are packed into {rows}")
        if len(packing) < run.batch:
            remarks.append(f"a batch of {run.batch} rows holds some of the {len(packing)} more than once")
    if overlap:
        remarks.append(f"{files.test}: {overlap} examples have prompts that are learned from")
    advice = None if files.reward is None else (read_report(files.reward) or {}).get("verdict")
    if advice:
        remarks.append(f"{files.reward}: {advice}")
    return remarks


def _truncated(run: TextRun, begun: Begun, part: Part) -> int:
    if run.draws_answers:
        return part.truncated_prompts(begun.context, run.answer)
    return part.truncated(begun.context)


def _whole(corpus: Corpus) -> Part:
    return Part(corpus, np.arange(len(corpus)))


def _some(part: Part, most: int) -> Part:
    """At most so many examples of a part, the same ones always, from all over it."""
    order = np.random.default_rng(0).permutation(len(part))
    return Part(part.corpus, part.indices[np.sort(order[:most])])


def _digest(directory: Path | None) -> str | None:
    """Of the weights in a directory."""
    if directory is None:
        return None
    contents = [path.read_bytes() for path in (directory / name for name in (CONFIG, WEIGHTS, HEAD)) if path.exists()]
    return hashlib.sha256(b"".join(contents)).hexdigest()
