"""`seqrl run`: a suite, or chosen tasks and agents, of any track."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from seqrl_jax import hosts
from seqrl_jax.commands.programs import join_processes, use_every_core
from seqrl_jax.commands.report import show_results
from seqrl_jax.commands.watching import Watching, watching
from seqrl_jax.naming import base
from seqrl_jax.release import refuse_within
from seqrl_jax.runs.executors.registry import executor
from seqrl_jax.runs.interrupt import interruptible
from seqrl_jax.runs.logging import TRACKERS, Logged, Together
from seqrl_jax.runs.observer import Observer
from seqrl_jax.runs.plan import Order
from seqrl_jax.runs.programs import keep_compiled_programs
from seqrl_jax.runs.runner import check_directory
from seqrl_jax.runs.runner import run as run_table
from seqrl_jax.tracks.base import Budget, Suite, Track
from seqrl_jax.tracks.dialogue import DialogueTrack
from seqrl_jax.tracks.registry import TRACKS
from seqrl_jax.tracks.suites import SUITES, check, suite

OWN = "own"
"""What records and their directory say where tasks or agents are chosen and no suite is: they are cells of none."""
SEEDS, STEPS = 5, 10_000
"""Of each cell, and of each run, in a track that has no suite."""


def run(options: argparse.Namespace) -> None:
    """Run what is missing and print the table; write the report, unless one of the same records is there.

    Raises: ReleaseError for a directory in a release; what the executor and the runner raise.
    """
    chosen = _chosen(options)
    track = _reading(check(chosen), chosen, options.log)
    if options.log and options.executor != "local":
        raise ValueError(f"{options.log}: a log is read by this process alone, not by --executor {options.executor}")
    if options.coordinator and options.executor != "local":
        raise ValueError(f"--coordinator: one program of several hosts, which --executor {options.executor} has not")
    where = executor(options.executor, options.address, options.resources, options.attempts)
    directory = options.out or Path("runs") / chosen.name
    refuse_within(directory)
    use_every_core()
    join_processes(options)
    hosts.on_first(lambda: check_directory(directory))
    keep_compiled_programs()
    score = track.columns[0]
    with (
        watching(track, Console(stderr=True)) as watched,
        interruptible(watched.note) as interrupt,
        _logged(watched, options.log_to, directory, score.metric) as observer,
    ):
        order = Order(
            track=track,
            methods=chosen.methods,
            problems=track.problems(chosen.tasks, watched.solving),
            budget=Budget(chosen.steps, chosen.evaluations, tuple(range(chosen.seeds))),
            suite=chosen.name,
            keep_old=options.keep_old,
            checkpoint_every=options.checkpoint_every,
        )
        run_table(order, directory, observer, interrupt, where)
    hosts.on_first(lambda: show_results(directory, options.json))


@contextlib.contextmanager
def _logged(watched: Watching, tracker: str | None, directory: Path, metric: str) -> Iterator[Observer]:
    """What watches the run: the terminal, and a tracker where one is asked for. Raises: ImportError without it."""
    if tracker is None or not hosts.is_first():
        yield watched
        return
    with contextlib.closing(TRACKERS[tracker](directory)) as writer:
        yield Together(watched, Logged(writer, metric))


def _chosen(options: argparse.Namespace) -> Suite:
    """The suite that the options name, or the one whose track has their names; what they set replaces its own."""
    tasks, agents = options.tasks or (), options.agents or ()
    chosen = suite(options.suite) if options.suite else _suite_for(tasks, agents)
    own = not options.suite and (tasks or agents)
    return replace(
        chosen,
        name=OWN if own else chosen.name,
        tasks=tuple(tasks or chosen.tasks),
        methods=tuple(agents or chosen.methods),
        seeds=options.seeds or chosen.seeds,
        steps=options.steps or chosen.steps,
    )


def _reading(track: Track, suite: Suite, log: Path | None) -> Track:
    """The track, learning from this file where there is one.

    Raises: ValueError for a track without logs, and for what the suite would not learn from one.
    """
    if log is None:
        return track
    if not isinstance(track, DialogueTrack):
        raise ValueError(f"{log}: the track {track.name} learns from no logs")
    reading = replace(track, log=log)
    reading.check(suite.tasks, suite.methods)
    return reading


def _suite_for(tasks: Sequence[str], agents: Sequence[str]) -> Suite:
    """The first suite of the track that has most of the names, or all that it has; where none has any, of the first
    track, which then says what they might have been."""

    def named(track: Track) -> tuple[int, int]:
        return sum(track.knows(task) for task in tasks), sum(base(agent) in track.methods for agent in agents)

    track = max(TRACKS.values(), key=named)
    names = tuple(track.tasks), tuple(track.methods)
    everything = Suite(OWN, "every method on every task", track.name, *names, seeds=SEEDS, steps=STEPS)
    return next((suite for suite in SUITES.values() if suite.track == track.name), everything)
