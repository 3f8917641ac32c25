"""Alignment of models of millions of parameters, on texts whose truth is known: `sft -> rm -> rloo` and `sft -> dpo`.

    python benchmarks/align_models.py --out benchmarks/results/align_models_h200.json

A prompt orders something in four words, and a reply repeats them: each is as ordered with probability `RIGHT`, else
another word of its kind. The gold reward of a reply is the share of its words that are as ordered. Of two replies the
one of more gold is chosen, but for a share `NOISE` of the labels. So for every stage it is known what cannot be
surpassed: the nats per byte of a model of the texts, the accuracy of a reward model against such labels, and the gold
reward of a policy at its distance from the texts. Which reply is better depends on the prompt: no counting of bytes
sees it.

Every stage is a run of `seqrl align`, and the file is written after each. The time to the first point of a curve has
the reading of the data and most of the compilation in it; the pace is the median over later points. Much of the
compilation is a search for the fastest matrix products: XLA_FLAGS=--xla_gpu_enable_triton_gemm=false shortens it.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import os
import statistics
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from scipy.optimize import brentq

from seqrl_jax.commands.align import progress_line
from seqrl_jax.networks.gpt import GPT
from seqrl_jax.networks.module import Weights
from seqrl_jax.results.provenance import write_measurement
from seqrl_jax.text.corpus import Part, scan
from seqrl_jax.text.encoding import PromptBatch, batches_of, prompt_batches_of
from seqrl_jax.text.judge import losses_and_preferences, share, summary
from seqrl_jax.text.policy import answer, divergence
from seqrl_jax.text.report import Report
from seqrl_jax.text.run import run_text
from seqrl_jax.text.settings import Files, ModelSettings, TextRun
from seqrl_jax.text.training import Moment, descent, keys_of
from seqrl_jax.text.vocabulary import Bytes, written
from seqrl_jax.text.weights import load_gpt, load_head

KINDS = {
    "number": ("two", "three", "four", "five", "six", "seven", "eight", "nine"),
    "colour": ("red", "blue", "green", "white", "black", "brown", "pink", "grey"),
    "thing": ("kites", "lamps", "boats", "chairs", "drums", "flags", "hats", "jars", "mugs", "nets", "ropes", "tents"),
    "name": ("Ada", "Ben", "Cleo", "Dan", "Eva", "Finn", "Gus", "Hana", "Ivo", "Jane", "Kim", "Lea", "Max", "Nora"),
}
"""The words of an order."""
PROMPTS = (
    "{name} asks for {number} {colour} {thing}. What do you answer?\n",
    "An order of {number} {colour} {thing} came from {name}. Reply:\n",
    "What do you say when {name} wants {number} {colour} {thing}?\n",
)
"""All have 32 bytes and less than 64, so that every batch has one shape."""
OPENINGS = ("", "Sure: ", "Of course, ", "It is done, ")
REPLY = "{number} {colour} {thing} for {name}."
RIGHT, NOISE = 0.6, 0.1
LONGEST, CONTEXT = 48, 128
"""Tokens of a drawn reply at most, more than those of the texts have, and of a text."""
AT_ONCE = 128
"""Replies that are drawn to be judged."""
POINTS = 20
"""Of a curve."""
STAGES = ("sft", "rm", "rloo", "dpo")
Words = tuple[str, ...]
"""One of each kind."""
Row = dict[str, Any]


class Order(NamedTuple):
    """What is ordered, and the prompt that says so."""

    words: Words
    prompt: str


class Reply(NamedTuple):
    """A text, with its log-probability under the rule that draws it and its gold reward."""

    text: str
    log_prob: float
    gold: float


def orders(rng: np.random.Generator) -> list[Order]:
    """Every prompt once, shuffled."""
    every = [Order(words, filled(form, words)) for words in itertools.product(*KINDS.values()) for form in PROMPTS]
    return [every[place] for place in rng.permutation(len(every))]


def filled(form: str, words: Sequence[str]) -> str:
    """A form with these words in their places."""
    return form.format(**dict(zip(KINDS, words, strict=True)))


def agreement(ordered: Words, words: Sequence[str]) -> float:
    """The share of words that are as ordered."""
    return sum(one == other for one, other in zip(ordered, words, strict=True)) / len(ordered)


def draw_reply(rng: np.random.Generator, ordered: Words) -> Reply:
    """A reply by the rule of the texts."""
    words, log_prob = list[str](), -math.log(len(OPENINGS))
    for word, choices in zip(ordered, KINDS.values(), strict=True):
        others = [other for other in choices if other != word]
        right = rng.random() < RIGHT
        words.append(word if right else others[rng.integers(len(others))])
        log_prob += math.log(RIGHT) if right else math.log((1 - RIGHT) / len(others))
    text = OPENINGS[rng.integers(len(OPENINGS))] + filled(REPLY, words)
    return Reply(text, log_prob, agreement(ordered, words))


def draw_pair(rng: np.random.Generator, ordered: Words) -> tuple[Reply, Reply]:
    """Two replies of different gold rewards, the better one first."""
    while True:
        one, other = draw_reply(rng, ordered), draw_reply(rng, ordered)
        if one.gold != other.gold:
            return (one, other) if one.gold > other.gold else (other, one)


def gold(ordered: Words, text: str) -> float:
    """The gold reward of any text: 0 of one that does not read as a reply."""
    for opening in OPENINGS:
        words = text.removeprefix(opening).removesuffix(".").replace(" for ", " ").split(" ")
        if len(words) == len(KINDS) and text == opening + filled(REPLY, words):
            return agreement(ordered, words)
    return 0.0


def best_gold(kl: float) -> float:
    """The largest mean gold reward of a policy so many nats from the rule of the texts, which tilts every word alike.

    That is p where `KL(Bernoulli(p) || Bernoulli(RIGHT))` is a word's share of the nats.
    """
    spent = max(kl, 0.0) / len(KINDS)
    if spent >= -math.log(RIGHT):
        return 1.0
    excess = lambda p: p * math.log(p / RIGHT) + (1 - p) * math.log((1 - p) / (1 - RIGHT)) - spent
    return brentq(excess, RIGHT, 1 - 1e-12) if spent > 0 else RIGHT


@dataclass(frozen=True)
class Data:
    """Files of texts, pairs and prompts, to learn from and to judge on, and what is known of the n that judge.

    Attributes: entropy: [n] nats per byte of the texts under their rule. labels: [n] bool, which pairs are labelled
        rightly. ordered: [n] words of the prompts.
    """

    folder: Path
    entropy: np.ndarray
    labels: np.ndarray
    ordered: list[Words]

    def files(self, method: str) -> Files:
        """What a stage reads, the stages before it among them."""
        content = {"sft": "texts", "rloo": "prompts"}.get(method, "pairs")
        start = None if method == "sft" else self.folder / "sft"
        reward = self.folder / "rm" if method == "rloo" else None
        return Files(self.folder / f"{content}.jsonl", self.folder / f"{content}_judge.jsonl", start, reward)


def write_data(folder: Path, learned: int, judged: int, seed: int) -> Data:
    """So many texts, pairs and prompts; those that judge have prompts of their own."""
    rng = np.random.default_rng(seed)
    every = orders(rng)
    _write_part(rng, folder, "", list(itertools.islice(itertools.cycle(every[judged:]), learned)))
    return _write_part(rng, folder, "_judge", every[:judged])


def _write_part(rng: np.random.Generator, folder: Path, suffix: str, part: Sequence[Order]) -> Data:
    replies = [draw_reply(rng, order.words) for order in part]
    pairs = [draw_pair(rng, order.words) for order in part]
    labels = rng.random(len(part)) >= NOISE
    lines: dict[str, list[dict[str, str]]] = {"texts": [], "pairs": [], "prompts": []}
    for (_, prompt), reply, pair, right in zip(part, replies, pairs, labels, strict=True):
        chosen, rejected = pair if right else pair[::-1]
        lines["texts"].append({"prompt": prompt, "completion": reply.text})
        lines["pairs"].append({"prompt": prompt, "chosen": chosen.text, "rejected": rejected.text})
        lines["prompts"].append({"prompt": prompt})
    for content, of_it in lines.items():
        _write_lines(folder / f"{content}{suffix}.jsonl", of_it)
    entropy = [-reply.log_prob / (len(reply.text) + 1) for reply in replies]
    return Data(folder, np.array(entropy), labels, [order.words for order in part])


def _write_lines(path: Path, lines: Iterable[Mapping[str, str]]) -> None:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--width", type=int, default=384)
    parser.add_argument("--layers", type=int, default=6)
    parser.add_argument("--heads", type=int, default=6)
    parser.add_argument("--dtype", default="bfloat16")
    parser.add_argument("--attention", default="xla")
    parser.add_argument("--batch", type=int, default=64, help="texts or pairs; rloo draws twice as many replies")
    parser.add_argument("--steps", type=int, nargs=4, default=(1500, 800, 200, 300), metavar=STAGES)
    parser.add_argument("--rates", type=float, nargs=4, default=(6e-4, 1.5e-4, 5e-5, 1e-5), metavar=STAGES)
    parser.add_argument("--betas", type=float, nargs=2, default=(0.05, 0.5), metavar=STAGES[2:], help="price of the KL")
    parser.add_argument("--learned", type=int, default=25_600, help="texts, and pairs, to learn from")
    parser.add_argument("--judged", type=int, default=1024, help="others to judge on")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()

    options.out.parent.mkdir(parents=True, exist_ok=True)
    sizes = ModelSettings(options.width, options.layers, options.heads, options.dtype, attention=options.attention)
    settings = {name: value for name, value in vars(options).items() if name != "out"}
    settings |= {"right": RIGHT, "noise": NOISE, "context": CONTEXT, "xla_flags": os.environ.get("XLA_FLAGS", "")}
    betas, rows = dict(zip(STAGES[2:], options.betas, strict=True)), list[Row]()
    with tempfile.TemporaryDirectory() as folder:
        data = write_data(Path(folder), options.learned, options.judged, options.seed)
        for method, steps, rate in zip(STAGES, options.steps, options.rates, strict=True):
            run = TextRun(
                method=method,
                steps=steps,
                batch=options.batch * (2 if method == "rloo" else 1),
                learning_rate=rate,
                beta=betas.get(method),
                context=CONTEXT,
                seed=options.seed,
                check_every=steps,
                log_every=max(1, steps // POINTS),
                answer=LONGEST,
            )
            rows.append(stage(run, data, sizes))
            write_measurement(options.out, {"settings": settings, "rows": rows})
            print(json.dumps({name: rows[-1][name] for name in rows[-1] if name != "curve"}), flush=True)


def stage(run: TextRun, data: Data, sizes: ModelSettings) -> Row:
    """Train and judge one stage behind those before it."""
    moments = list[tuple[float, Moment]]()

    def progress(moment: Moment) -> None:
        moments.append((time.monotonic(), moment))
        print(f"{run.method} {progress_line(moment)}", flush=True)

    files, out, began = data.files(run.method), data.folder / run.method, time.monotonic()
    report = run_text(run, files, out, sizes, progress=progress)
    seconds = timed(began, moments) | {"seconds": time.monotonic() - began}
    loaded, weights = load_gpt(out)
    model = sizes.as_computed(loaded)
    before = model.initial_weights(keys_of(run).weights) if files.start is None else load_gpt(files.start)[1]
    row: Row = {"stage": run.method, "batch": run.batch, "learning_rate": run.learning_rate, "beta": run.beta}
    row["parameters"] = sum(leaf.size for leaf in jax.tree.leaves(weights))
    row |= reported(report) | seconds
    if not run.draws_answers:
        row |= by_labels(run, data, model, before, weights)
    if run.method != "rm":
        # The supervised model is pi_0 of the policies, its own among them.
        row |= by_rule(run, data, model, weights, weights if files.start is None else before)
    return row | {"all_seconds": time.monotonic() - began}


def timed(began: float, moments: Sequence[tuple[float, Moment]]) -> Row:
    """Seconds to the first point of a curve and from there to the last, and the pace there."""
    (first, point), (last, _) = moments[0], moments[-1]
    paces = [moment.tokens_per_second for _, moment in moments if moment.tokens_per_second is not None]
    return {
        "seconds_to_first_point": first - began,
        "first_point": point.step,
        "seconds_behind_it": last - first,
        "tokens_per_second": statistics.median(paces) if paces else None,
    }


def reported(report: Report) -> Row:
    """What the report of a run says."""
    fields = {name: value for name, value in asdict(report).items() if value is not None}
    return {name: value for name, value in fields.items() if name not in ("method", "planned", "samples_before")}


def by_labels(run: TextRun, data: Data, model: GPT, before: Weights, weights: Weights) -> Row:
    """The loss before training on the examples that judge, and what the rule says of them."""
    test = data.files(run.method).test
    assert test is not None
    corpus = scan(test, run.reads, Bytes(), CONTEXT)
    part = Part(corpus, np.arange(len(corpus)))
    begin = descent(run, model, before, part).begin
    learned = {"model": weights}
    if "head" in begin:
        learned["head"] = load_head(data.folder / run.method, model)
    batches, end = batches_of(part, run.batch, CONTEXT), corpus.vocabulary.end
    judge = partial(losses_and_preferences, run.method, run.price, model, reference=before, batches=batches, end=end)
    row = {"loss_before": summary(judge(begin)[0], part.topics)}
    if run.method == "sft":
        return row | {"entropy": summary(data.entropy, part.topics)}
    _, right = judge(learned)
    return row | {
        "accuracy_of_labels": share(data.labels, part.topics),
        "gold_accuracy": share(np.where(data.labels, right, 1 - right), part.topics),
    }


def by_rule(run: TextRun, data: Data, model: GPT, weights: Weights, reference: Weights) -> Row:
    """What the rule says of replies to the prompts that judge, one to each, and how far the policy is from pi_0."""
    byte = Bytes()
    corpus = scan(data.folder / "prompts_judge.jsonl", "prompts", byte, CONTEXT)
    part = Part(corpus, np.arange(len(corpus)))
    texts, drawn = list[str](), list[np.ndarray]()
    for number, batch in enumerate(prompt_batches_of(part, AT_ONCE, CONTEXT, LONGEST)):
        key = jax.random.fold_in(jax.random.key(run.seed), number)
        said, *numbers = replies(model, weights, reference, key, batch, end=byte.end)
        texts += [written(byte, row[mask]) for row, mask in zip(*map(np.asarray, said), strict=True)]
        drawn.append(np.array(numbers, np.float64))
    kl, length, ended = np.concatenate(drawn, 1)
    golds = [gold(ordered, text) for ordered, text in zip(data.ordered, texts, strict=True)]
    return {
        "gold": summary(golds, part.topics),
        "kl_to_sft": summary(kl, part.topics),
        "best_gold_there": best_gold(float(kl.mean())),
        "gold_ended": share(ended, part.topics),
        "gold_length": summary(length, part.topics),
    }


@partial(jax.jit, static_argnames=("model", "end"))
def replies(
    model: GPT, weights: Weights, reference: Weights, key: Array, prompts: PromptBatch, end: int
) -> tuple[tuple[Array, Array], Array, Array, Array]:
    """Of N replies: texts and where in them they stand, [N, T] each; KL(pi || pi_0) summed over their places, their
    lengths, and whether they ended, [N] each."""
    begin, drawn = answer(model, weights, key, prompts, end)
    kl = divergence(model, weights, reference, begin, drawn)
    return (drawn.tokens, drawn.mask), kl, drawn.mask.sum(1), jnp.any(drawn.mask & (drawn.tokens == end), 1)


if __name__ == "__main__":
    main()
