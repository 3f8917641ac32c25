"""Alignment of models of millions of parameters on texts whose truth is known: `sft -> rm -> rloo` and `sft -> dpo`.

    python benchmarks/align_models.py --out benchmarks/results/align_models_h200.json

A prompt orders something, an answer repeats the order, and each of its four words is as ordered with probability
`RIGHT`, else another. The gold reward of an answer is the share of them that are; of two answers the better one is
chosen, but for a share `NOISE` of the labels. So it is known what no stage can surpass: the nats per byte of a model of
texts, the accuracy of a reward model against such labels, and the gold reward of a policy at its distance from the
texts. A preference depends on the prompt: no counting of bytes sees it.

Everything is trained as `seqrl align` does, one stage after another, and the file is written after each. The time to
the first point of a curve has the reading of data and most of the compilation in it; the pace is the median of later
ones.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import json
import math
import statistics
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from scipy.optimize import brentq

from seqrl_jax.checkpoint import load_tree
from seqrl_jax.commands.align import progress_line
from seqrl_jax.lm.base import completion_logits, token_distribution
from seqrl_jax.networks.gpt import GPT
from seqrl_jax.networks.module import Weights
from seqrl_jax.results.provenance import write_measurement
from seqrl_jax.text.corpus import Part, scan
from seqrl_jax.text.encoding import batches_of
from seqrl_jax.text.judge import Summary, losses_and_preferences, share, summary
from seqrl_jax.text.policy import answer
from seqrl_jax.text.report import Report
from seqrl_jax.text.run import Files, run_text
from seqrl_jax.text.settings import ModelSettings, TextRun
from seqrl_jax.text.training import Moment, descent, keys_of
from seqrl_jax.text.vocabulary import Bytes, written
from seqrl_jax.text.weights import HEAD, load_gpt

SLOTS = {
    "number": ("two", "three", "four", "five", "six", "seven", "eight", "nine"),
    "colour": ("red", "blue", "green", "white", "black", "brown", "pink", "grey"),
    "thing": ("kites", "lamps", "boats", "chairs", "drums", "flags", "hats", "jars", "mugs", "nets", "ropes", "tents"),
    "name": ("Ada", "Ben", "Cleo", "Dan", "Eva", "Finn", "Gus", "Hana", "Ivo", "Jane", "Kim", "Lea", "Max", "Nora"),
}
PROMPTS = (
    "{name} asks for {number} {colour} {thing}. What do you answer?\n",
    "An order of {number} {colour} {thing} came from {name}. Reply:\n",
    "What do you say when {name} wants {number} {colour} {thing}?\n",
)
"""Each as long as a part of a prompt that is read in one pass, and not twice as long."""
ANSWERS = ("", "Sure: ", "Of course, ", "It is done, ")
SAID = "{number} {colour} {thing} for {name}."
RIGHT, NOISE = 0.6, 0.1
LONGEST = 48
"""Tokens of an answer that is drawn; those of the texts have less."""
CONTEXT = 128
AT_ONCE = 128
"""Answers that are drawn for the gold reward."""
POINTS = 20
"""Of a curve."""
STAGES = ("sft", "rm", "rloo", "dpo")
Words = tuple[str, ...]
"""One of each slot."""
Row = dict[str, Any]


class Order(NamedTuple):
    """What is asked for, and the prompt that asks."""

    words: Words
    prompt: str


class Said(NamedTuple):
    """An answer, with its log-probability under the rule that draws it and its gold reward."""

    text: str
    log_prob: float
    gold: float


def orders(rng: np.random.Generator) -> list[Order]:
    """Every prompt once, shuffled."""
    every = [
        Order(words, form.format(**dict(zip(SLOTS, words, strict=True))))
        for words in itertools.product(*SLOTS.values())
        for form in PROMPTS
    ]
    return [every[place] for place in rng.permutation(len(every))]


def drawn_answer(rng: np.random.Generator, asked: Words) -> Said:
    """An answer of the texts: every word is as asked with probability RIGHT, else one of the others alike."""
    words, log_prob = list[str](), -math.log(len(ANSWERS))
    for word, choices in zip(asked, SLOTS.values(), strict=True):
        others = [other for other in choices if other != word]
        right = rng.random() < RIGHT
        words.append(word if right else others[rng.integers(len(others))])
        log_prob += math.log(RIGHT) if right else math.log((1 - RIGHT) / len(others))
    text = ANSWERS[rng.integers(len(ANSWERS))] + SAID.format(**dict(zip(SLOTS, words, strict=True)))
    return Said(text, log_prob, agreement(asked, words))


def agreement(asked: Words, words: Sequence[str]) -> float:
    """The share of words that are as asked."""
    return sum(one == other for one, other in zip(asked, words, strict=True)) / len(asked)


def gold(asked: Words, text: str) -> float:
    """The gold reward of any text: 0 of one that is no answer."""
    for opening in sorted(ANSWERS, key=len, reverse=True):
        if text.startswith(opening):
            words = text.removeprefix(opening).removesuffix(".").replace(" for ", " ").split(" ")
            is_answer = len(words) == len(SLOTS) and text == opening + SAID.format(**dict(zip(SLOTS, words)))
            return agreement(asked, words) if is_answer else 0.0
    raise AssertionError("every text has the empty opening")


def best_gold(kl: float) -> float:
    """The largest mean gold reward of a policy so many nats from the texts: it tilts every word alike."""
    each = kl / len(SLOTS)
    divergence = lambda p: p * math.log(p / RIGHT) + (1 - p) * math.log((1 - p) / (1 - RIGHT))
    if each <= 0:
        return RIGHT
    return 1.0 if each >= -math.log(RIGHT) else brentq(lambda p: divergence(p) - each, RIGHT, 1 - 1e-12)


@dataclass(frozen=True)
class Data:
    """Files of texts, pairs and prompts, to learn from and to judge on, and what is known of the latter.

    Attributes: entropy: nats per byte of the judging texts under the rule that drew them. labels: [n], which of the
        judging pairs are labelled rightly. asked: of the judging prompts.
    """

    folder: Path
    entropy: np.ndarray
    labels: np.ndarray
    asked: list[Words]

    def files(self, name: str, start: Path | None = None, reward: Path | None = None) -> Files:
        """`texts`, `pairs` or `prompts`."""
        return Files(self.folder / f"{name}.jsonl", self.folder / f"{name}_judged.jsonl", start, reward)


def written_data(folder: Path, learned: int, judged: int, seed: int) -> Data:
    """So many texts, pairs and prompts; those that judge have prompts of their own."""
    rng = np.random.default_rng(seed)
    every = orders(rng)
    kept, training = every[:judged], every[judged:]
    entropy, labels = np.zeros(0), np.zeros(0, bool)
    for end, source, count in (("", training, learned), ("_judged", kept, judged)):
        asked = [source[number % len(source)] for number in range(count)]
        said = [drawn_answer(rng, order.words) for order in asked]
        entropy = np.array([-one.log_prob / (len(one.text) + 1) for one in said])
        pairs = [unequal(rng, order.words) for order in asked]
        labels = rng.random(count) >= NOISE
        texts = [{"prompt": order.prompt, "completion": one.text} for order, one in zip(asked, said, strict=True)]
        compared = [
            {"prompt": order.prompt, "chosen": pair[not right].text, "rejected": pair[bool(right)].text}
            for order, pair, right in zip(asked, pairs, labels, strict=True)
        ]
        write_lines(folder / f"texts{end}.jsonl", texts)
        write_lines(folder / f"pairs{end}.jsonl", compared)
        write_lines(folder / f"prompts{end}.jsonl", ({"prompt": order.prompt} for order in asked))
    return Data(folder, entropy, labels, [order.words for order in kept])


def unequal(rng: np.random.Generator, asked: Words) -> tuple[Said, Said]:
    """Two answers, the first of more gold reward."""
    while True:
        one, other = drawn_answer(rng, asked), drawn_answer(rng, asked)
        if one.gold != other.gold:
            return (one, other) if one.gold > other.gold else (other, one)


def write_lines(path: Path, lines: Iterable[Mapping[str, str]]) -> None:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--width", type=int, default=384)
    parser.add_argument("--layers", type=int, default=6)
    parser.add_argument("--heads", type=int, default=6)
    parser.add_argument("--dtype", default="bfloat16")
    parser.add_argument("--attention", default="xla")
    parser.add_argument("--batch", type=int, default=64, help="texts or pairs; a policy gradient draws twice as many")
    parser.add_argument("--steps", type=int, nargs=4, default=(1000, 400, 200, 300), metavar=tuple(STAGES))
    parser.add_argument("--rates", type=float, nargs=4, default=(1e-3, 2e-4, 1e-4, 5e-5), metavar=tuple(STAGES))
    parser.add_argument("--learned", type=int, default=25_600, help="texts, and pairs, to learn from")
    parser.add_argument("--judged", type=int, default=1024, help="others to judge on")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()

    options.out.parent.mkdir(parents=True, exist_ok=True)
    sizes = ModelSettings(options.width, options.layers, options.heads, options.dtype, attention=options.attention)
    settings = {name: value for name, value in vars(options).items() if name != "out"}
    truth = {"right": RIGHT, "noise": NOISE, "gold_of_texts": RIGHT}
    rows = list[Row]()
    with tempfile.TemporaryDirectory() as folder:
        data = written_data(Path(folder), options.learned, options.judged, options.seed)
        for stage, steps, rate in zip(STAGES, options.steps, options.rates, strict=True):
            run = TextRun(
                method=stage,
                steps=steps,
                batch=options.batch * (2 if stage == "rloo" else 1),
                learning_rate=rate,
                context=CONTEXT,
                seed=options.seed,
                check_every=steps,
                log_every=max(1, steps // POINTS),
                answer=LONGEST,
            )
            rows.append(staged(run, data, sizes))
            write_measurement(options.out, {"settings": settings, "truth": truth, "rows": rows})
            shown = {name: value for name, value in rows[-1].items() if name not in ("curve", "samples")}
            print(json.dumps(shown), flush=True)


def staged(run: TextRun, data: Data, sizes: ModelSettings) -> Row:
    """Train and judge a stage behind those before it."""
    sft, out = data.folder / "sft", data.folder / run.method
    start, reward = (None if run.method == "sft" else sft), (data.folder / "rm" if run.draws_answers else None)
    files = data.files("prompts" if reward else "pairs" if start else "texts", start, reward)
    moments = list[tuple[float, Moment]]()

    def progress(moment: Moment) -> None:
        moments.append((time.monotonic(), moment))
        print(f"{run.method} {progress_line(moment)}", flush=True)

    began = time.monotonic()
    report = run_text(run, files, out, sizes, progress=progress)
    row = {"stage": run.method, "steps": run.steps, "batch": run.batch, "learning_rate": run.learning_rate}
    row |= timed(began, moments) | {"seconds": time.monotonic() - began}
    loaded, weights = load_gpt(out)
    model = sizes.as_computed(loaded)
    row["parameters"] = sum(leaf.size for leaf in jax.tree.leaves(weights))
    row |= found(report)
    if not run.draws_answers:
        before = model.initial_weights(keys_of(run).weights) if start is None else load_gpt(start)[1]
        row |= judged(run, files, data, model, before, weights)
    if run.method != "rm":
        row |= sampled(run, data, model, weights, load_gpt(sft)[1])
    return row


def timed(began: float, moments: Sequence[tuple[float, Moment]]) -> Row:
    """Seconds to the first point of a curve and behind it, and the pace there."""
    paces = [moment.tokens_per_second for _, moment in moments if moment.tokens_per_second is not None]
    first, last = moments[0][0], moments[-1][0]
    return {
        "seconds_to_first_point": first - began,
        "first_point": moments[0][1].step,
        "seconds_behind_it": last - first,
        "tokens_per_second": statistics.median(paces) if paces else None,
    }


def found(report: Report) -> Row:
    """What the report of a run has, but what follows from the settings."""
    left_out = ("method", "steps", "planned", "samples_before", "samples_after")
    kept = {name: value for name, value in dataclasses.asdict(report).items() if name not in left_out}
    return {name: value for name, value in kept.items() if value is not None} | {"samples": report.samples_after}


def judged(run: TextRun, files: Files, data: Data, model: GPT, before: Weights, weights: Weights) -> Row:
    """Losses on what judges before and after training, and what is known of them."""
    assert files.test is not None
    corpus = scan(files.test, run.reads, Bytes(), CONTEXT)
    part = Part(corpus, np.arange(len(corpus)))
    begin = descent(run, model, before, part).begin
    learned = {"model": weights}
    if "head" in begin:
        learned["head"] = load_tree(data.folder / run.method / HEAD, jnp.zeros(model.width))
    batches = batches_of(part, run.batch, CONTEXT)
    judge = partial(losses_and_preferences, run.method, run.price, model)
    (loss_before, _), (_, right) = (judge(one, before, batches, corpus.vocabulary.end) for one in (begin, learned))
    row: Row = {"loss_before": summary(loss_before, part.topics)}
    if run.method == "sft":
        return row | {"entropy": summary(data.entropy, part.topics)}
    agrees = np.where(data.labels, right, 1 - right)
    return row | {
        "accuracy_of_labels": share(data.labels.astype(float), part.topics),
        "gold_accuracy": share(agrees, part.topics),
    }


def sampled(run: TextRun, data: Data, model: GPT, weights: Weights, reference: Weights) -> Row:
    """What a policy answers to the judging prompts, by the rule."""
    end = Bytes().end
    corpus = scan(data.folder / "prompts_judged.jsonl", "prompts", Bytes(), CONTEXT)
    part = Part(corpus, np.arange(len(corpus)))
    texts, kls, ended, lengths = list[str](), list[float](), list[bool](), list[int]()
    for number, batch in enumerate(batches_of(part, AT_ONCE, CONTEXT, length=LONGEST)):
        key = jax.random.fold_in(jax.random.key(run.seed), number)
        tokens, mask, kl = answered(
            model, weights, reference, key, batch.tokens[:, 0], batch.mask[:, 0], end=end, given=batch.given
        )
        for said, place in zip(np.asarray(tokens), np.asarray(mask), strict=True):
            texts.append(written(Bytes(), said[place]))
            ended.append(bool((said[place] == end).any()))
            lengths.append(int(place.sum()))
        kls += np.asarray(kl, np.float64).tolist()
    golds = [gold(asked, text) for asked, text in zip(data.asked, texts, strict=True)]
    kl_to_sft = summary(kls, part.topics)
    return {
        "gold": summary(golds, part.topics),
        "kl_to_sft": kl_to_sft,
        "best_gold_there": best_gold(mean_of(kl_to_sft)),
        "gold_ended": share(np.array(ended, float), part.topics),
        "gold_length": summary(lengths, part.topics),
    }


def mean_of(value: Summary) -> float:
    mean = value["mean"]
    assert mean is not None
    return mean


@partial(jax.jit, static_argnames=("model", "end", "given"))
def answered(
    model: GPT, weights: Weights, reference: Weights, key: Array, tokens: Array, mask: Array, end: int, given: int
) -> tuple[Array, Array, Array]:
    """Answers where mask [N, T] has room, where they were drawn, and KL(pi || pi_0) [N] summed over their places."""
    begin, drawn = answer(model, weights, key, tokens, mask, end, given)
    ours, theirs = (token_distribution(completion_logits(model, w, begin, drawn.tokens)) for w in (weights, reference))
    return drawn.tokens, drawn.mask, jnp.where(drawn.mask, ours.kl_divergence(theirs), 0.0).sum(1)


if __name__ == "__main__":
    main()
