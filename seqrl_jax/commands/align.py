"""`seqrl align`: a byte model on texts of a user's own."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from functools import cache

import jax

from seqrl_jax.commands.console import print_json
from seqrl_jax.commands.programs import keep_compiled_programs
from seqrl_jax.commands.progress import bars
from seqrl_jax.networks.gpt import GPT
from seqrl_jax.report.words import NONE
from seqrl_jax.text.corpus import VOCABULARY
from seqrl_jax.text.judge import Summary
from seqrl_jax.text.run import TextRun, run_text


def run(options: argparse.Namespace) -> None:
    """Train, judge and print."""
    run = TextRun(
        method=options.method,
        steps=options.steps,
        batch=options.batch,
        learning_rate=options.learning_rate,
        beta=options.beta,
        held_out=options.held_out,
        check_every=options.check_every,
        seed=options.seed,
        group=options.group,
        answer=options.answer,
    )
    keep_compiled_programs()
    with bars() as bar:
        # Drawn with the first step, so that an error is one line.
        line = cache(lambda: bar(run.method))
        report = run_text(
            run,
            options.data,
            options.out,
            byte_model(options),
            options.init,
            options.skip_bad,
            lambda done, total: line()(done, total),
            options.reward,
        )
    if options.json:
        return print_json(asdict(report))
    print(f"{report.examples} examples, {report.held_out} held out, {report.skipped} bad lines skipped")
    if report.truncated:
        print(f"{report.truncated} examples are longer than the context and were cut")
    named = (
        ("loss, nats", report.loss),
        ("prefers what was chosen", report.accuracy),
        ("prefer the longer", report.longer),
        ("count bytes", report.unigram),
        ("reward before, deviations", report.reward_before),
        ("reward", report.reward),
        ("KL, nats per answer", report.kl),
    )
    for name, estimate in named:
        if estimate:
            print(f"  {name:<26}{with_ends(estimate)}")
    for before, after in zip(report.samples_before, report.samples_after, strict=True):
        print(f"  {before['prompt']!r}\n    before: {before['said']!r}\n    after:  {after['said']!r}")
    print(f"weights, checkpoint and report: {options.out}")


def with_ends(estimate: Summary) -> str:
    """`mean [low, high]`, a dash where there is no interval."""
    mean, low, high = (NONE if estimate[name] is None else f"{estimate[name]:.4f}" for name in ("mean", "low", "high"))
    return f"{mean} {NONE if NONE in (low, high) else f'[{low}, {high}]'}"


def byte_model(options: argparse.Namespace) -> GPT:
    """The model of the sizes that were asked for. Raises: ValueError where this device lacks what was asked for."""
    if options.attention == "cudnn" and (here := jax.default_backend()) != "gpu":
        raise ValueError(f"--attention cudnn needs an NVIDIA device, and jax found none: it computes on {here}")
    sizes = (options.context, options.width, options.layers, options.heads)
    return GPT(VOCABULARY, *sizes, dtype=options.dtype, remat=options.remat, attention=options.attention)
