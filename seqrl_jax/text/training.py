"""The loop of a run on texts: steps, points of its curve, checkpoints, and where it goes on."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array
from jax.sharding import Mesh

from seqrl_jax import hosts
from seqrl_jax.checkpoint import load_tree, read_metadata, save_tree
from seqrl_jax.keys import key_of
from seqrl_jax.lm.policy_gradient import log_ratio
from seqrl_jax.lm.training import falling_adam, gradient_step
from seqrl_jax.networks.gpt import GPT
from seqrl_jax.networks.module import Weights
from seqrl_jax.networks.sharding import Layout, everywhere, laid_weights, over_data, weight_shardings
from seqrl_jax.runs.interrupt import Interrupt
from seqrl_jax.text.corpus import Part
from seqrl_jax.text.encoding import PromptBatch, TokenBatch, prompt_batch, token_batch
from seqrl_jax.text.losses import REWARD_MODEL, losses_of, packed_losses
from seqrl_jax.text.packing import PackedBatch, Packing, packed_batch
from seqrl_jax.text.policy import LearnedReward, collect
from seqrl_jax.text.settings import TextRun, TrainingError

CHECKPOINT = "training.safetensors"
DIGESTS = {
    "data": "the data",
    "test": "the test data",
    "start": "the weights to begin with",
    "reward": "the reward",
}
"""What an identity names by its digest, and what that is called."""
ONE_DEVICE = Layout()
Batch = TokenBatch | PromptBatch | PackedBatch
Metrics = dict[str, Any]
State = tuple[Weights, optax.OptState]
Curve = list[dict[str, float]]
"""Points {"step", "loss", ...}: means over the steps since the point before."""


class Stage(NamedTuple):
    """How a method trains.

    begin: the weights before the first step, {"model", ...}. fixed: arrays that no step changes, such as pi_0.
    step: (state, fixed, key, batch) -> the state after the step, and metrics: `loss` before it, `tokens` that it read
    or drew, and what else its curve shows.
    """

    begin: Weights
    fixed: Any
    optimiser: optax.GradientTransformation
    step: Callable[..., tuple[State, Metrics]]


class Moment(NamedTuple):
    """How far a run is. point: the newest of its curve. The last two are None before its pace is known."""

    step: int
    steps: int
    point: Mapping[str, float]
    tokens_per_second: float | None
    seconds_left: float | None


class Trained(NamedTuple):
    """The weights after the last step, the curve to there, and the numbers of steps that were asked for, one after
    another."""

    weights: Weights
    curve: Curve
    planned: list[int]


class Keys(NamedTuple):
    """Of the initial weights of the model and of a reward model's head, and of the steps."""

    weights: Array
    head: Array
    steps: Array


def keys_of(run: TextRun) -> Keys:
    """Those of a run."""
    return Keys(*jax.random.split(key_of(run.seed), 3))


def descent(run: TextRun, model: GPT, weights: Weights, training: Part) -> Stage:
    """Gradient descent on the losses of examples. Of labelled answers, good and bad ones count alike together."""
    optimiser = falling_adam(run.learning_rate, run.steps)
    begin = {"model": weights}
    if run.method == REWARD_MODEL:
        begin["head"] = jax.random.normal(keys_of(run).head, (model.width,)) / model.width**0.5
    labelled = training.corpus.form == "label"
    labels = training.corpus.good[training.indices]
    balance = [0.5 / max(float((labels == good).mean()), 1 / len(labels)) for good in (False, True)]
    end = training.corpus.vocabulary.end

    def step(state: State, reference: Weights, key: Array, batch: TokenBatch) -> tuple[State, Metrics]:
        tokens, mask, good = (jnp.asarray(array) for array in (batch.tokens, batch.mask, batch.good))

        def loss(learned: Weights) -> Array:
            labels = good if labelled else None
            each = losses_of(run.method, run.price, model, learned, reference, tokens, mask, labels, end)[0]
            return (each * jnp.where(good, balance[1], balance[0])).mean() if labelled else each.mean()

        state, value = gradient_step(optimiser, loss, *state)
        return state, {"loss": value, "tokens": jnp.sum(tokens != end)}

    return Stage(begin, weights, optimiser, step)


def packed_descent(run: TextRun, model: GPT, weights: Weights, training: Part, packing: Packing) -> Stage:
    """The same of `sft` on packed rows. The losses of a batch are divided by the texts that one has on average, so that
    over an epoch a text counts alike in whichever row it lies; the loss of its point is their mean."""
    optimiser = falling_adam(run.learning_rate, run.steps)
    texts = run.batch * len(packing.texts) / len(packing)
    end = training.corpus.vocabulary.end

    def step(state: State, fixed: None, key: Array, batch: PackedBatch) -> tuple[State, Metrics]:
        state, value = gradient_step(
            optimiser, lambda learned: packed_losses(model, learned["model"], batch).sum() / texts, *state
        )
        in_batch = batch.segment_ids.max(1).sum().astype(jnp.float32)
        return state, {"loss": value * texts / in_batch, "tokens": jnp.sum(batch.tokens != end)}

    return Stage({"model": weights}, None, optimiser, step)


def policy_gradient(run: TextRun, model: GPT, weights: Weights, reward: LearnedReward) -> Stage:
    """A policy gradient on a reward."""
    policy = run.policy
    optimiser = policy.optimiser()

    def step(
        state: State, fixed: tuple[Weights, LearnedReward], key: Array, batch: PromptBatch
    ) -> tuple[State, Metrics]:
        collect_key, order_key = jax.random.split(key)
        reference, reward = fixed
        rollout, ended = collect(policy, model, state[0], reference, reward, collect_key, batch)
        state, losses = policy.learn(order_key, model, optimiser, state, rollout)
        drawn = rollout.mask.sum()
        return state, {
            "loss": losses.mean(),
            "reward": rollout.reward.mean(),
            "ended": ended.mean(),
            "length": drawn / len(ended),
            "log_ratio": log_ratio(rollout).mean(),
            "tokens": drawn,
        }

    begin = {"model": weights, "value": jnp.zeros(model.width)}
    return Stage(begin, (weights, reward), optimiser, step)


def train(
    run: TextRun,
    stage: Stage,
    batch_of: Callable[[int], Batch],
    out: Path,
    identity: Mapping[str, Any],
    progress: Callable[[Moment], None] = lambda moment: None,
    interrupt: Interrupt | None = None,
    layout: Layout = ONE_DEVICE,
) -> Trained:
    """Make the steps that are missing, in a directory that this process alone writes to.

    Args: batch_of: the batch of a step. layout: of the devices over which weights and batches lie; a run may go on over
        others. Of several processes (`hosts`) all call this, with a directory that all see, and the first writes.
    Raises: TrainingError where the directory holds another run, or where the loss is no number (the last good
        checkpoint is kept); Interrupted, after a checkpoint.
    """
    interrupt, mesh = Interrupt() if interrupt is None else interrupt, layout.mesh()
    with hosts.together():
        state, begun, curve, planned = _begun(run, stage, out, identity, mesh)
    hosts.require_same("the step that they begin at", begun)
    good, lie = begun, weight_shardings(mesh, state)
    advance = jax.jit(stage.step, donate_argnums=0, out_shardings=(lie, everywhere(mesh)))
    fixed = laid_weights(mesh, stage.fixed)
    key, pending, clock = keys_of(run).steps, list[Metrics](), _Clock(begun)
    with interrupt.under_way():
        for number in range(begun, run.steps):
            batch = over_data(mesh, batch_of(number))
            state, metrics = advance(state, fixed, jax.random.fold_in(key, number), batch)
            pending.append(metrics)
            done = number + 1
            keeps = done % run.check_every == 0 or done == run.steps
            waits = keeps or done % run.points_every == 0
            # Several processes agree only where they wait for the device anyway.
            ends = interrupt.agree() if waits or not hosts.several() else False
            keeps |= ends
            if not waits and not ends:
                # Nothing is asked of the device, which computes while the next batch is prepared.
                continue
            last_good = f"the checkpoint of step {good} is kept in {out}" if good else "no checkpoint was written"
            point, tokens = _point(pending, done, last_good)
            pending = []
            curve.append(point)
            if keeps:
                # The loss is that before the step: what it did to the weights is seen here.
                if not _finite(state):
                    raise TrainingError(f"the weights are no numbers after step {number}; {last_good}")
                save_tree(out / CHECKPOINT, state, {**identity, "step": done, "planned": planned, "curve": curve})
                good = done
            progress(clock.moment(done, run.steps, point, tokens))
            if ends:
                break
    return Trained(state[0], curve, planned)


def read_checkpoint(directory: Path) -> dict[str, Any]:
    """What stands beside the state in the checkpoint of a run on texts. Raises: ValueError, naming the file."""
    path = directory / CHECKPOINT
    metadata = read_metadata(path)
    if missing := sorted({"run", "step", "planned", "curve"} - metadata.keys()):
        raise ValueError(f"{path}: not a checkpoint of a run on texts (without {', '.join(missing)})")
    return metadata


@jax.jit
def _finite(tree: Any) -> Array:
    return jnp.stack([jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(tree)]).all()


def _begun(
    run: TextRun, stage: Stage, out: Path, identity: Mapping[str, Any], mesh: Mesh
) -> tuple[State, int, Curve, list[int]]:
    """The state to go on from, the steps that led to it, their curve, and the steps that were and are asked for."""

    def begin(weights: Weights) -> State:
        # The weights are also the reference: what is donated must not be the same buffers.
        return jax.tree.map(jnp.copy, weights), stage.optimiser.init(weights)

    shapes = jax.eval_shape(begin, stage.begin)
    lie = weight_shardings(mesh, shapes)
    path = out / CHECKPOINT
    if not path.exists():
        return jax.jit(begin, out_shardings=lie)(laid_weights(mesh, stage.begin)), 0, [], [run.steps]
    written = read_checkpoint(out)
    if differences := _differences(written, identity):
        raise TrainingError(f"{out} belongs to another run: {differences}; give another directory")
    if written["step"] > run.steps:
        raise TrainingError(f"{out} has made {written['step']} steps: --steps {run.steps} are fewer")
    planned = written["planned"]
    # Adam's rate falls to 0 at the steps that were asked for last; a run that is extended goes on at the longer one's.
    planned = planned if planned[-1] == run.steps else [*planned, run.steps]
    like = jax.tree.map(lambda leaf, lies: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=lies), shapes, lie)
    return load_tree(path, like), written["step"], written["curve"], planned


def _differences(there: Mapping[str, Any], here: Mapping[str, Any]) -> str:
    """In which settings two identities differ, in words."""
    differences = []
    for part, kind in (("run", TextRun), ("model", GPT)):
        # A checkpoint that is older than a setting was made with its default.
        defaults = {field.name: field.default for field in dataclasses.fields(kind)}
        before, now = defaults | there.get(part, {}), defaults | here[part]
        changed = [name for name in now if before.get(name) != now[name]]
        differences += [f"{name} is {before.get(name)} there and {now[name]} here" for name in changed]
    differences += [f"{what} are others" for name, what in DIGESTS.items() if there.get(name) != here[name]]
    # The run and the model may both have a context, of the same length.
    return ", ".join(dict.fromkeys(differences))


def _point(pending: Sequence[Metrics], done: int, last_good: str) -> tuple[dict[str, float], float]:
    """The mean of metrics, and the sum of their tokens. Raises: TrainingError where a loss is no number."""
    read = jax.device_get(pending)
    for number, metrics in enumerate(read, done - len(read)):
        if not math.isfinite(metrics["loss"]):
            raise TrainingError(f"the loss is {float(metrics['loss'])} at step {number}; {last_good}")
    names = [name for name in read[0] if name != "tokens"]
    means = {name: float(np.mean([metrics[name] for metrics in read], dtype=np.float64)) for name in names}
    return {"step": done, **means}, float(sum(metrics["tokens"] for metrics in read))


class _Clock:
    """The pace of a run from one point to the next: steps that compile tell nothing of later ones."""

    def __init__(self, begun: int) -> None:
        self._time, self._step = time.monotonic(), begun
        self._compiled = False

    def moment(self, done: int, steps: int, point: Mapping[str, float], tokens: float) -> Moment:
        now = time.monotonic()
        spent, made = max(now - self._time, 1e-9), done - self._step
        compiled, self._compiled = self._compiled, True
        self._time, self._step = now, done
        if not compiled:
            return Moment(done, steps, point, None, None)
        return Moment(done, steps, point, tokens / spent, spent / made * (steps - done))


def batch_of_step(run: TextRun, training: Part, context: int, packing: Packing | None, number: int) -> Batch:
    """The batch of a step. Each epoch has an order of its own, which depends on the seed alone.

    packing: of the same part, to read rows of it instead of single examples.
    """
    size = len(training) if packing is None else len(packing)
    count = run.batch // run.group if run.draws_answers else run.batch
    epochs = [divmod(place, size) for place in range(number * count, (number + 1) * count)]
    places = [_order(run.seed, epoch, size)[rest] for epoch, rest in epochs]
    if packing is not None:
        return packed_batch(training.corpus, [packing.row(place) for place in places], context)
    indices = training.indices[places]
    if run.draws_answers:
        return prompt_batch(training.corpus, indices, context, run.answer)
    return token_batch(training.corpus, indices, context, np.roll(indices, -1) if run.crosses else None)


@lru_cache(2)
def _order(seed: int, epoch: int, size: int) -> np.ndarray:
    return np.random.default_rng((seed, epoch)).permutation(size)
