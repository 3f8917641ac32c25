"""`seqrl run`: a suite, or chosen tasks and agents."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from seqrl_jax.tracks.lm import Plan, run_alignment
from seqrl_jax.tracks.pomdp import Budget, run_table, solved
from seqrl_jax.tracks.suites import AlignmentSuite, check, check_alignment, suite
from seqrl_jax.commands.programs import keep_compiled_programs, use_every_core
from seqrl_jax.commands.progress import bars
from seqrl_jax.commands.told import tell


def run(options: argparse.Namespace) -> None:
    """Run what is missing and print the table."""
    chosen = suite(options.suite)
    if isinstance(chosen, AlignmentSuite):
        return _align(options, chosen)
    chosen = replace(
        chosen,
        tasks=tuple(options.tasks or chosen.tasks),
        agents=tuple(options.agents or chosen.agents),
        seeds=chosen.seeds if options.seeds is None else options.seeds,
        steps=chosen.steps if options.steps is None else options.steps,
    )
    check(chosen)
    directory = options.out or Path("runs") / chosen.name
    budget = Budget(chosen.steps, chosen.evaluations, tuple(range(chosen.seeds)))
    use_every_core()
    keep_compiled_programs()
    with bars() as bar:
        problems = solved(chosen.tasks, bar("solving"))
        for _ in run_table(chosen.agents, problems, budget, directory, chosen.name, bar):
            pass
    tell(directory, options.json)


def _align(options: argparse.Namespace, chosen: AlignmentSuite) -> None:
    chosen = replace(
        chosen,
        tasks=tuple(options.tasks or chosen.tasks),
        methods=tuple(options.agents or chosen.methods),
        seeds=chosen.seeds if options.seeds is None else options.seeds,
    )
    check_alignment(chosen)
    directory = options.out or Path("runs") / chosen.name
    seeds = tuple(range(chosen.seeds))
    plan = Plan(chosen.name, chosen.methods, chosen.tasks, seeds, options.model, updates=options.steps)
    keep_compiled_programs()
    with bars() as bar:
        for _ in run_alignment(plan, directory, bar):
            pass
    tell(directory, options.json)
