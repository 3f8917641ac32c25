"""What one device does as the work on it grows: environment steps, whole training runs, a language model.

    python benchmarks/accelerator.py --out benchmarks/results/accelerator_h100.json

Environment steps: uniformly random actions, episodes that start again, larger and larger batches, by jax's default
random generator and by the device's own. Training: four updates of agents as they ship on one task, initialisation
included, more and more runs in one program. Language models: single steps of Adam in bfloat16 on random texts, with
attention by XLA and, where the device has it, by NVIDIA's fused kernel.

Each program is compiled once, and the median of its warm calls counts. A part that is run again replaces the one in the
file, and keeps its own command.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import jax

from seqrl_jax.agents import make_agent
from seqrl_jax.failures import device_is_full
from seqrl_jax.files import write_whole
from seqrl_jax.networks.gpt import GPT
from seqrl_jax.results.provenance import origin
from seqrl_jax.settings import AttentionKernel
from seqrl_jax.tasks.environments import environment
from seqrl_jax.text.vocabulary import Bytes
from seqrl_jax.throughput.env import random_policy_rollout
from seqrl_jax.throughput.lm import speeds
from seqrl_jax.throughput.measure import measure
from seqrl_jax.throughput.training import training

STEPPED = (
    "tmaze:length=10",
    "rock_sample",
    "memory_chain:length=30",
    "gymnax:MemoryChain-bsuite",
    "repeat_previous_cards",
)
BATCHES = (2**11, 2**15, 2**19)
GENERATORS = ("threefry2x32", "unsafe_rbg")
STEPS = 256
TRAINED_ON = "tmaze:length=10"
TRAINED = ("ppo", "pqn", "drqn", "reward_to_go")
RUNS = (1, 64, 1024)
UPDATES = 4
MODELS = {"25M": (512, 512, 8, 8), "125M": (1024, 768, 12, 12)}
"""Context, width, layers and heads."""
TEXTS = (8, 32, 128)
KERNELS: tuple[AttentionKernel, ...] = ("xla", "cudnn")
Row = dict[str, Any]


def growing(sizes: Sequence[int], row_of: Callable[[int], Row]) -> Iterator[Row]:
    """Rows of larger and larger sizes, up to the first that the device cannot hold."""
    for size in sizes:
        try:
            yield row_of(size)
        except RuntimeError as error:
            if not device_is_full(error):
                raise
            return print(f"the device is full at {size}", file=sys.stderr)


def stepping(repeats: int) -> Iterator[Row]:
    """Rows of tasks by generators and batches."""
    for spec, generator in itertools.product(STEPPED, GENERATORS):
        yield from growing(BATCHES, partial(stepped, spec, generator, repeats))


def stepped(spec: str, generator: str, repeats: int, batch: int) -> Row:
    ready = environment(spec)
    with jax.default_prng_impl(generator):
        program = random_policy_rollout(ready.env, ready.params, batch, STEPS)
        return {**asdict(measure({spec: program}, repeats)[0]), "generator": generator}


def learning(repeats: int) -> Iterator[Row]:
    """Rows of agents by runs."""
    for name in TRAINED:
        yield from growing(RUNS, partial(trained, name, repeats))


def trained(name: str, repeats: int, runs: int) -> Row:
    ready = environment(TRAINED_ON)
    program = training(make_agent(name), ready.env, ready.params, UPDATES, runs)
    row = measure({name: program}, repeats)[0]
    return {**asdict(row), "task": TRAINED_ON, "seconds_of_a_run": statistics.median(row.seconds) / runs}


def language(repeats: int) -> Iterator[Row]:
    """Rows of models by kernels of attention and batches."""
    kernels = KERNELS if jax.default_backend() == "gpu" else KERNELS[:1]
    for name, kernel in itertools.product(MODELS, kernels):
        yield from growing(TEXTS, partial(modelled, name, kernel, repeats))


def modelled(name: str, kernel: AttentionKernel, repeats: int, texts: int) -> Row:
    model = GPT(Bytes().size, *MODELS[name], dtype="bfloat16", attention=kernel)
    (row,) = speeds(model, texts, repeats, of=["training"])
    return {**asdict(row), "what": name, "context": model.context, "attention": kernel, "share": row.share_of_peak}


PARTS: dict[str, Callable[[int], Iterator[Row]]] = {"stepping": stepping, "training": learning, "language": language}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()

    measured = json.loads(options.out.read_text(encoding="utf-8")) if options.out and options.out.exists() else {}
    for part in options.parts:
        measured[part] = {"rows": [], **origin()}
        for row in PARTS[part](options.repeats):
            print({key: value for key, value in row.items() if key not in ("seconds", "device")}, flush=True)
            measured[part]["rows"].append(row)
            if options.out:
                write_whole(options.out, (json.dumps(measured, indent=1) + "\n").encode())


if __name__ == "__main__":
    main()
