"""`seqrl throughput`: steps and tokens per second, seconds of compilation, and memory."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from difflib import get_close_matches
from functools import partial
from itertools import cycle, groupby, product
from math import gcd, lcm
from pathlib import Path
from typing import Any, get_args

import jax

from seqrl_jax.agents import make_agent
from seqrl_jax.commands.console import note, print_json
from seqrl_jax.commands.programs import require_attention
from seqrl_jax.devices import usable_cores
from seqrl_jax.dialogue.environment import symbol_env, symbol_params
from seqrl_jax.dialogue.registry import make_game
from seqrl_jax.dialogue.views import View, spelling
from seqrl_jax.figures import COLOURS, new_figure, png
from seqrl_jax.files import write_whole
from seqrl_jax.networks.gpt import GPT
from seqrl_jax.runs.programs import use_cores
from seqrl_jax.tasks.environments import environment, known
from seqrl_jax.text.vocabulary import Bytes
from seqrl_jax.throughput.env import random_policy_rollout
from seqrl_jax.throughput.lm import LanguageSpeed, speeds
from seqrl_jax.throughput.measure import Measurement, Program, measure
from seqrl_jax.throughput.training import training

ENVIRONMENTS = 2048
TEXTS = 8
"""What stands side by side unless another batch is asked for; of runs it is one on each device."""
STEPS = 1000
"""Of each environment in a call."""
MODEL = {
    "context": 256,
    "width": 512,
    "layers": 8,
    "heads": 8,
    "dtype": "bfloat16",
    "attention": "xla",
    "remat": False,
}
"""Of a language model: 25 million weights."""
CEILINGS = {
    "products": "matrix products",
    "arithmetic": "arithmetic",
    "transcendental": "exponentials and their like",
    "random": "random numbers",
    "moved": "memory traffic",
}
LEGEND_INCHES = 0.3
LEGEND_EACH = 0.22
DPI = 150


def run(options: argparse.Namespace) -> None:
    """Measure and print."""
    kind, names = _kind(options.what)
    if options.agents and kind != "train":
        raise ValueError(f"--agents are trained: seqrl throughput train {' '.join(names)} --agents ...")
    options = _completed(kind, options)
    widest = max(options.devices or [usable_cores()])
    use_cores(widest)
    if jax.default_backend() == "cpu" and widest > usable_cores():
        note(f"{widest} devices share {usable_cores()} cores")
    rows = []
    for row in KINDS[kind](names, options):
        rows.append(row)
        if not options.json:
            print(_line(row, options), flush=True)
    if options.picture:
        _draw(rows, options.picture)
    if options.json:
        print_json({"rows": [_as_json(row) for row in rows]})


def _kind(what: Sequence[str]) -> tuple[str, Sequence[str]]:
    """What is measured, and its names. Raises: ValueError for a kind that stands elsewhere, or nearly is one."""
    if what and what[0] in KINDS:
        return what[0], what[1:]
    meant = [*(name for name in what if name in KINDS), *get_close_matches(what[0] if what else "", KINDS)]
    if meant and not known(what[0]):
        raise ValueError(f"unknown kind {what[0]!r}: did you mean {meant[0]}? There are {', '.join(KINDS)}")
    if meant:
        raise ValueError(f"{meant[0]} is a kind, which stands first and alone: seqrl throughput {meant[0]} ...")
    return "env", what


def _completed(kind: str, options: argparse.Namespace) -> argparse.Namespace:
    """The options with what was left open. Raises: ValueError for one that this kind would not read."""
    unread, readers = (["steps"], "env, train and dialogue") if kind == "lm" else ([*MODEL], "lm")
    for name in unread:
        if getattr(options, name) is not None:
            raise ValueError(f"--{name} is of {readers}: {kind} does not read it")
    open_ = {name: value for name, value in {"steps": STEPS, **MODEL}.items() if getattr(options, name) is None}
    return argparse.Namespace(**vars(options) | open_)


def _stepping(specs: Sequence[str], options: argparse.Namespace) -> Iterable[Measurement]:
    """Of environments under a random policy."""
    ready = {spec: environment(spec) for spec in specs or ["tmaze"]}
    rollouts = {
        spec: partial(random_policy_rollout, each.env, each.params, steps=options.steps) for spec, each in ready.items()
    }
    return _in_turn(rollouts, ENVIRONMENTS, options)


def _training(specs: Sequence[str], options: argparse.Namespace) -> Iterable[Measurement]:
    """Of agents in environments, from their initialisation on, as many runs at once as a batch holds."""
    runs = {}
    for spec, name in product(specs or ["tmaze"], options.agents or ["ppo"]):
        ready, agent = environment(spec), make_agent(name)
        updates = max(1, options.steps // agent.steps_per_update)
        runs[f"{name} on {spec}"] = partial(training, agent, ready.env, ready.params, updates)
    return _in_turn(runs, max(_devices(options)), options)


def _talking(specs: Sequence[str], options: argparse.Namespace) -> Iterable[Measurement]:
    """Of games of dialogue under random symbols; by utterance a symbol is a whole one."""
    rollouts = {}
    for spec, view in product(specs or ["wordle"], get_args(View)):
        game = make_game(spec)
        spelled = spelling(game, view)
        env, params = symbol_env(game, spelled), symbol_params(game, spelled)
        rollouts[f"{spec} by {view}"] = partial(random_policy_rollout, env, params, steps=options.steps)
    return _in_turn(rollouts, ENVIRONMENTS, options)


def _language(names: Sequence[str], options: argparse.Namespace) -> Iterable[Measurement]:
    """Of a language model that learns, reads and writes."""
    if names or options.devices not in (None, [1]):
        raise ValueError("lm takes no names, and one device")
    require_attention(options.attention)
    sizes = (options.context, options.width, options.layers, options.heads)
    model = GPT(Bytes().size, *sizes, dtype=options.dtype, remat=options.remat, attention=options.attention)
    return [row for batch in options.batch or [TEXTS] for row in speeds(model, batch, options.repeats)]


KINDS: dict[str, Callable[[Sequence[str], argparse.Namespace], Iterable[Measurement]]] = {
    "env": _stepping,
    "train": _training,
    "dialogue": _talking,
    "lm": _language,
}


def _in_turn(
    programs: Mapping[str, Callable[..., Program]], batch: int, options: argparse.Namespace
) -> Iterable[Measurement]:
    """Measurements of programs by batch and devices; those of one size alternate.

    Args: programs: each of so many side by side, `devices=` given. batch: unless others are asked for.
    """
    devices = _devices(options)
    whole = lcm(*devices)
    batches = options.batch or [whole * max(1, batch // whole)]
    # All of them are made before any is measured, so that what cannot be made is refused at once.
    sizes = [
        {name: program(size, devices=count) for name, program in programs.items()}
        for size, count in product(batches, devices)
    ]
    for sized in sizes:
        yield from measure(sized, options.repeats)


def _devices(options: argparse.Namespace) -> Sequence[int]:
    """Those that are asked for, or all, as far as they divide every batch."""
    return options.devices or [gcd(jax.device_count(), *(options.batch or ()))]


def _as_json(row: Measurement) -> dict[str, Any]:
    if isinstance(row, LanguageSpeed):
        # Ceilings are of float32.
        return asdict(row) | {"share_of_peak": row.share_of_peak}
    return asdict(row) | {"bound": row.bound, "share": row.share}


def _line(row: Measurement, options: argparse.Namespace) -> str:
    """A measurement for people."""
    memory = "" if row.memory is None else f", {row.memory / 2**20:.2g} MiB"
    where = f"on {row.device}" if row.devices == 1 else f"each of {row.devices} devices, on {row.device}"
    end = f"compiled in {row.compile_seconds:.1f} s{memory}, {where}"
    if isinstance(row, LanguageSpeed):
        return (
            f"{row.what}: {row.parameters / 1e6:.1f} M weights in {options.dtype}{', remat' if options.remat else ''}, "
            f"attention by {options.attention}, {row.batch} texts of {options.context}: "
            f"{row.tokens_per_second:,.0f} tokens/s, "
            f"{row.share_of_peak:.0%} of {row.peak / 1e12:.3g} TFLOP/s ({row.peak_is}), {end}"
        )
    return (
        f"{row.what}: {row.steps_per_second / 1e6:.3g} M steps/s, {row.batch:,} side by side, "
        f"{row.share:.0%} of the time is {CEILINGS[row.bound]} at full speed, {end}"
    )


def _draw(rows: Sequence[Measurement], path: Path) -> None:
    """Steps per second against what stands side by side, a line for each program and number of devices."""
    in_order = sorted(rows, key=lambda row: (*_line_of(row), row.batch))
    lines = [list(group) for _, group in groupby(in_order, key=_line_of)]
    figure = new_figure(1, 1, LEGEND_INCHES + LEGEND_EACH * len(lines))
    axes = figure.subplots()
    for line, colour in zip(lines, cycle(COLOURS)):
        label = f"{line[0].what}, {line[0].devices} devices" if line[0].devices > 1 else line[0].what
        axes.plot(
            [row.batch for row in line], [row.steps_per_second for row in line], marker="o", label=label, color=colour
        )
    axes.set(xscale="log", yscale="log", xlabel="side by side", ylabel="steps per second")
    figure.legend(loc="outside lower left", frameon=False, fontsize=8)
    write_whole(path, png(figure, DPI))


def _line_of(row: Measurement) -> tuple[str, int]:
    return row.what, row.devices
