"""Tokens per second of `seqrl align` on real text, beside a plain loop around `transformers` and TRL's trainers.

    python benchmarks/peers/environment.py trl benchmarks/peers/align_speed.py --out align_speed_cpu.json

Ours is what the command runs, `run_text`, with its files, batches, printed lines, points of the curve and checkpoints;
it is interrupted after some of its steps. Every side begins with the same weights of a GPT-2 with a million parameters,
reads bytes as tokens, computes in float32 on the same cores, and steps by Adam behind a clipped norm. Each run is a
process of its own, and those of a row alternate. Cold is the time from the call to the first point of the curve, with
files, tokens and compilation, but without imports; warm is a step behind it. PyTorch gets one thread or two, whichever
is faster for that peer. A row that `--out` holds already with as many repeats is not measured again.

Equal in each row:

- `sft`: paragraphs packed into the same rows of 256 tokens, 16 rows a step. The plain loop has our masks, positions and
  weights of tokens, and its loss is compared with ours. TRL is given the rows as they are and attends across the texts
  of a row, which is less work: its own way is to read a batch as one long row, whose attention no CPU affords.
- `dpo`: 16 pairs a step of the same tokens, prompts of 32 to 128 and answers of 16 to 128; pi_0 is read at every step.
- `grpo`: 64 answers a step of at most 64 tokens, 8 to each prompt of 32 to 128, judged by the same reward model of the
  policy's size; four passes over them in four parts each, clipped, with the KL in the loss. Tokens are those of the
  answers up to their ends. What is drawn is not equal, as random numbers are not.

Not equal: padding, by us to powers of two and by TRL to the longest of a batch; and what each does between steps of its
own accord: we average metrics and print, TRL measures entropies and gathers metrics without being asked to print any.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from pydoc_data.topics import topics
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from seqrl_jax.checkpoint import save_tree
from seqrl_jax.commands.align import following
from seqrl_jax.failures import Interrupted
from seqrl_jax.networks.gpt import GPT
from seqrl_jax.results.provenance import read_measurement, write_measurement
from seqrl_jax.runs.interrupt import Interrupt
from seqrl_jax.runs.programs import keep_freed_memory, use_cores
from seqrl_jax.text.losses import packed_losses
from seqrl_jax.text.packing import PackedBatch, packed_batch
from seqrl_jax.text.prepared import Prepared, prepare
from seqrl_jax.text.run import run_text
from seqrl_jax.text.settings import Files, TextRun
from seqrl_jax.text.training import Moment
from seqrl_jax.text.vocabulary import Bytes
from seqrl_jax.text.weights import HEAD, load_gpt, load_head, save_gpt

BYTES = Bytes()
MODEL = GPT(BYTES.size, context=256, width=128, layers=5, heads=4)
RUNS = {
    "sft": TextRun("sft", batch=16, packing=True, log_every=5),
    "dpo": TextRun("dpo", batch=16, log_every=5),
    "grpo": TextRun("grpo", batch=64, group=8, answer=64, log_every=1),
}
OURS = "seqrl_jax"
SIDES = {"sft": (OURS, "transformers", "trl"), "dpo": (OURS, "trl"), "grpo": (OURS, "trl")}
POINTS = 4
"""Of the curve, to which each run is made."""
SHORTEST_TEXT, LONGEST_PART = 160, 128
"""Bytes of a paragraph, and of a prompt or an answer that is cut from it."""
Timed = dict[str, float]
"""Of a run: `cold` and `warm` seconds, and `tokens` of a step."""


def lay_out(folder: Path) -> None:
    """Write what all sides read: the weights of `policy` and of `judge`, and data."""
    policy, judge, head = jax.random.split(jax.random.key(0), 3)
    save_gpt(folder / "policy", MODEL, MODEL.initial_weights(policy), BYTES)
    save_gpt(folder / "judge", MODEL, MODEL.initial_weights(judge), BYTES)
    save_tree(folder / "judge" / HEAD, jax.random.normal(head, (MODEL.width,)) / MODEL.width**0.5, {})
    texts, rng = paragraphs(), np.random.default_rng(0)
    prompts = [text[: rng.integers(32, LONGEST_PART)] for text in texts]
    answers = [text[LONGEST_PART:][: rng.integers(16, LONGEST_PART)] for text in texts]
    pairs = zip(prompts, answers, [*answers[1:], answers[0]], strict=True)
    data = {
        "sft": [{"text": text} for text in texts],
        "dpo": [{"prompt": prompt, "chosen": one, "rejected": other} for prompt, one, other in pairs],
        "grpo": [{"prompt": prompt} for prompt in prompts],
    }
    for method, lines in data.items():
        files_of(method, folder).data.write_text("".join(json.dumps(line) + "\n" for line in lines))


def files_of(method: str, folder: Path) -> Files:
    """What a run reads."""
    judge = folder / "judge" if method == "grpo" else None
    return Files(folder / f"{method}.jsonl", start=folder / "policy", reward=judge)


def paragraphs() -> list[str]:
    """Of Python's manual, in ASCII and without the short ones."""
    every = (part for text in topics.values() for part in text.split("\n\n"))
    plain = (" ".join(part.encode("ascii", "ignore").decode().split()) for part in every)
    return list(dict.fromkeys(part for part in plain if len(part) >= SHORTEST_TEXT))


def ours(method: str, folder: Path) -> Timed:
    """`seqrl align` to some points of its curve."""
    use_cores(1)
    keep_freed_memory()
    interrupt, moments, ends = Interrupt(), list[Moment](), [time.monotonic()]
    with tempfile.TemporaryDirectory() as out, following(method) as show, contextlib.suppress(Interrupted):

        def progress(moment: Moment) -> None:
            show(moment)
            if interrupt.requested:
                return  # the step after the last point, with which the run is kept
            moments.append(moment)
            ends.append(time.monotonic())
            if len(moments) == POINTS:
                interrupt.request(signal.SIGINT)

        run_text(RUNS[method], files_of(method, folder), Path(out), progress=progress, interrupt=interrupt)
    cold, *warm = np.diff(ends).tolist()
    tokens = [(moment.tokens_per_second or 0) * spent for moment, spent in zip(moments[1:], warm, strict=True)]
    every = RUNS[method].points_every
    return {"cold": cold, "warm": statistics.median(warm) / every, "tokens": statistics.mean(tokens) / every}


def theirs(method: str, side: str, threads: int, folder: Path) -> Timed:
    """The same of a peer."""
    import torch
    from align_peers import plain_loop, trl_dpo, trl_grpo, trl_sft

    torch.set_num_threads(threads)
    run, files, policy = RUNS[method], files_of(method, folder), folder / "policy"
    data, steps = prepare(run, files, BYTES, MODEL.context, skip_bad=False), POINTS * run.points_every
    with tempfile.TemporaryDirectory() as out:
        if side == "transformers":
            return plain_loop(policy, every_row(data), run, steps)
        if method == "sft":
            return trl_sft(policy, every_row(data), run, steps, out)
        if method == "dpo":
            return trl_dpo(policy, data.training, run, steps, out)
        judge = folder / "judge"
        prompts = [json.loads(line)["prompt"] for line in files.data.read_text().splitlines()]
        return trl_grpo(policy, judge, np.asarray(load_head(judge, MODEL)), prompts, run, steps, out)


def every_row(data: Prepared) -> PackedBatch:
    assert data.packing is not None
    return packed_batch(data.corpus, [data.packing.row(number) for number in range(len(data.packing))], data.context)


def require_equal_losses(folder: Path) -> None:
    """That the plain loop descends on what we descend on."""
    import torch
    from align_peers import as_tensors, loaded, plain_loss

    data = prepare(RUNS["sft"], files_of("sft", folder), BYTES, MODEL.context, skip_bad=False)
    rows = PackedBatch(*(array[:4] for array in every_row(data)))
    texts = float(rows.segment_ids.max(1).sum())
    with torch.no_grad():
        other = float(plain_loss(loaded(folder / "policy"), as_tensors(rows), texts))
    model, weights = load_gpt(folder / "policy")
    mine = float(packed_losses(model, weights, jax.tree.map(jnp.asarray, rows)).sum() / texts)
    assert abs(mine - other) < 1e-4, (mine, other)


def in_a_process(method: str, side: str, threads: int, folder: Path) -> Timed:
    """What a run in a process of its own says of itself."""
    words = ["--run", method, side, "--torch-threads", str(threads), "--folder", str(folder)]
    done = subprocess.run([sys.executable, __file__, *words], stdout=subprocess.PIPE, text=True, check=True)
    said: Timed = json.loads(done.stdout.splitlines()[-1])
    print(method, side, threads, said, file=sys.stderr, flush=True)
    return said


def fastest(threads: list[int], run: Callable[[int], Timed]) -> int:
    """With which numbers of threads a peer is fastest."""
    return threads[0] if len(threads) == 1 else min(threads, key=lambda number: run(number)["warm"])


def measure(method: str, repeats: int, threads: list[int], folder: Path) -> dict[str, Any]:
    """A row."""
    peers = {
        side: fastest(threads, lambda number: in_a_process(method, side, number, folder))  # noqa: B023
        for side in SIDES[method][1:]
    }
    runs: dict[str, list[Timed]] = {side: [] for side in SIDES[method]}
    for _ in range(repeats):
        for side in SIDES[method]:
            runs[side].append(in_a_process(method, side, peers.get(side, 1), folder))
    middle = lambda name: {side: statistics.median(run[name] for run in every) for side, every in runs.items()}
    tokens, warm = middle("tokens"), middle("warm")
    rates = {side: tokens[side] / warm[side] for side in runs}
    return {
        "method": method,
        "tokens_per_second": rates,
        "faster_than": {side: rates[OURS] / rates[side] for side in peers},
        "cold_seconds": middle("cold"),
        "tokens_of_a_step": tokens,
        "torch_threads": peers,
        "all": runs,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", nargs="+", choices=list(RUNS), default=list(RUNS))
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--torch-threads", type=int, nargs="+", default=[1, 2], help="the fastest of these")
    parser.add_argument("--run", nargs=2, help="one run alone: a method and a side")
    parser.add_argument("--folder", type=Path, help="what that run reads")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    if options.run:
        method, side = options.run
        (threads,) = options.torch_threads
        said = ours(method, options.folder) if side == OURS else theirs(method, side, threads, options.folder)
        return print(json.dumps(said))
    earlier = read_measurement(options.out) if options.out and options.out.exists() else {"repeats": None, "rows": []}
    rows = earlier["rows"] if earlier["repeats"] == options.repeats else []
    with tempfile.TemporaryDirectory() as folder:
        lay_out(Path(folder))
        require_equal_losses(Path(folder))
        for method in options.methods:
            if method in {row["method"] for row in rows}:
                continue
            rows.append(measure(method, options.repeats, options.torch_threads, Path(folder)))
            print({key: value for key, value in rows[-1].items() if key != "all"}, flush=True)
            if options.out:
                peers = {name: version(name) for name in ("trl", "transformers", "torch")}
                write_measurement(options.out, {"peers": peers, "repeats": options.repeats, "rows": rows})


if __name__ == "__main__":
    main()
