"""`seqrl throughput`: steps and tokens per second."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from typing import Any

from seqrl_jax.commands.console import print_json
from seqrl_jax.commands.programs import require_attention
from seqrl_jax.networks.gpt import GPT
from seqrl_jax.tasks.environments import environment
from seqrl_jax.text.vocabulary import Bytes
from seqrl_jax.throughput.env import measure, random_policy_rollout
from seqrl_jax.throughput.lm import training_speed

LANGUAGE_MODEL = "lm"
"""What stands in a task's place to measure the training of a language model."""
Measured = tuple[dict[str, Any], str]
"""A measurement for machines, and as a line for people."""


def run(options: argparse.Namespace) -> None:
    """Measure and print."""
    tasks = [spec for spec in options.tasks if spec != LANGUAGE_MODEL]
    measured = _stepping(tasks, options) if tasks else []
    if LANGUAGE_MODEL in options.tasks:
        measured.append(_training(options))
    if options.json:
        return print_json({"rows": [row for row, _ in measured]})
    for _, line in measured:
        print(line)


def _stepping(specs: list[str], options: argparse.Namespace) -> list[Measured]:
    """Of each task under a random policy, all of them in turn."""
    batch = options.batch or 2048
    ready = {spec: environment(spec) for spec in specs}
    rows = measure(
        {spec: random_policy_rollout(each.env, each.params, batch, options.steps) for spec, each in ready.items()},
        options.repeats,
    )
    return [
        (
            asdict(row),
            f"{row.what}: {row.steps_per_second / 1e6:.2f} M steps/s, {row.batch} environments, "
            f"compiled in {row.compile_seconds:.1f} s, on {row.device}",
        )
        for row in rows
    ]


def _training(options: argparse.Namespace) -> Measured:
    require_attention(options.attention)
    sizes = (options.context, options.width, options.layers, options.heads)
    model = GPT(Bytes().size, *sizes, dtype=options.dtype, remat=options.remat, attention=options.attention)
    row = training_speed(model, options.batch or 8, options.repeats)
    return (
        {**asdict(row), "share_of_peak": row.share},
        f"lm: {row.parameters / 1e6:.1f} M weights in {options.dtype}{', remat' if options.remat else ''}, "
        f"attention by {options.attention}, "
        f"{row.batch} texts of {options.context}: {row.tokens_per_second:,.0f} tokens/s, {row.share:.0%} of "
        f"{row.peak / 1e12:.3g} TFLOP/s ({row.peak_is}), compiled in {row.compile_seconds:.1f} s, on {row.device}",
    )
