"""`seqrl align`: a model on texts of a user's own."""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict

from rich.console import Console
from rich.progress import BarColumn, TextColumn

from seqrl_jax import hosts
from seqrl_jax.commands.console import note, print_json
from seqrl_jax.commands.programs import join_processes, require_attention, use_every_core
from seqrl_jax.commands.progress import Drawn, in_words
from seqrl_jax.report.words import NONE
from seqrl_jax.runs.interrupt import interruptible
from seqrl_jax.runs.programs import keep_compiled_programs, keep_freed_memory, use_cores
from seqrl_jax.text.judge import Summary
from seqrl_jax.text.report import LABELS, Report
from seqrl_jax.text.run import run_text
from seqrl_jax.text.settings import Files, ModelSettings, TextRun
from seqrl_jax.text.training import Moment


def run(options: argparse.Namespace) -> None:
    """Train, judge and print."""
    run = TextRun(
        method=options.method,
        steps=options.steps,
        batch=options.batch,
        learning_rate=options.learning_rate,
        beta=options.beta,
        context=options.context,
        held_out=options.held_out,
        seed=options.seed,
        check_every=options.check_every,
        log_every=options.log_every,
        group=options.group,
        answer=options.answer,
        packing=options.packing,
    )
    files = Files(options.data, options.test, options.init, options.reward)
    if options.coordinator:
        use_every_core()
    else:
        use_cores(options.mesh.data * options.mesh.model)
    join_processes(options)
    require_attention(options.attention)
    sizes = ModelSettings(options.width, options.layers, options.heads, options.dtype, options.remat, options.attention)
    keep_compiled_programs()
    keep_freed_memory()
    tell = note if hosts.is_first() else lambda message: None
    with following(run.method) as progress, interruptible(tell) as interrupt:
        report = run_text(run, files, options.out, sizes, options.skip_bad, progress, tell, interrupt, options.mesh)
    if not hosts.is_first():
        return
    if options.json:
        return print_json(asdict(report))
    for line in in_lines(report):
        print(line)
    print(f"weights, tokenizer, checkpoint and report: {options.out}")
    print(f"curves: seqrl report {options.out}")


def in_lines(report: Report) -> Iterator[str]:
    """A report as people read it."""
    judged = f", {report.judged} of them judged" if report.judged < report.held_out else ""
    yield f"{report.examples} examples of {report.prompts} prompts; {report.held_out} examples held out{judged}"
    if report.padding is not None:
        yield f"packed rows: {report.padding:.1%} padding"
    for name, label in LABELS.items():
        estimate = getattr(report, name)
        if estimate and not (name == "loss" and estimate == report.per_byte):
            against = (
                "" if name != "loss" or report.indifferent is None else f"  ({report.indifferent:.4g}: no preference)"
            )
            yield f"  {label:<36}{with_ends(estimate)}{against}"
    if report.verdict:
        yield report.verdict
    for before, after in zip(report.samples_before, report.samples_after, strict=True):
        yield f"  {before['prompt']!r}\n    before: {before['said']!r}\n    after:  {after['said']!r}"


def with_ends(estimate: Summary) -> str:
    """`mean [low, high]`, a dash where there is no interval."""
    mean, low, high = (NONE if estimate[name] is None else f"{estimate[name]:.4f}" for name in ("mean", "low", "high"))
    return f"{mean} {NONE if NONE in (low, high) else f'[{low}, {high}]'}"


@contextlib.contextmanager
def following(method: str) -> Iterator[Callable[[Moment], None]]:
    """A context that gives what shows how far a run is: a line that changes on a terminal, else a line for each point
    of its curve, both on stderr; nothing in a process that does not print."""
    if not hosts.is_first():
        yield lambda moment: None
        return
    console = Console(stderr=True)
    columns = TextColumn("{task.description}", markup=False), BarColumn(bar_width=20)
    with Drawn(console, *columns) as shown:
        line = shown.add_task(f"{method}: compiling", total=None, visible=False)

        def show(moment: Moment) -> None:
            if not console.is_terminal:
                print(f"{method} {progress_line(moment)}", file=sys.stderr, flush=True)
            shown.update(
                line,
                description=f"{method} {progress_line(moment)}",
                completed=moment.step,
                total=moment.steps,
                visible=True,
            )

        yield show


def progress_line(moment: Moment) -> str:
    """`step 20 of 100  loss 3.2  12,000 tokens/s  5 s left`."""
    parts = [f"step {moment.step} of {moment.steps}"]
    parts += [f"{name} {value:.4g}" for name, value in moment.point.items() if name != "step"]
    if moment.tokens_per_second is not None:
        parts.append(f"{moment.tokens_per_second:,.0f} tokens/s")
    if moment.seconds_left:
        parts.append(f"{in_words(moment.seconds_left)} left")
    return "  ".join(parts)
