"""`seqrl play`: an episode in which the user acts."""

from __future__ import annotations

import argparse
import sys

import numpy as np

from seqrl_jax.commands.watch import believed, discounted, parted
from seqrl_jax.exact.solve import cache_directory, solve
from seqrl_jax.figures import printable
from seqrl_jax.naming import SpecError, lookup
from seqrl_jax.tasks.environments import table
from seqrl_jax.tasks.tabular import TabularPOMDP
from seqrl_jax.tracks.episode import Choice, Moment, Step, episode

BELIEF = "?"


class _Left(Exception):
    """There is nothing more to read."""


def run(options: argparse.Namespace) -> None:
    """Ask for each action on stdin, a name or a number; `?` shows the belief. Raises: SpecError with --json."""
    if options.json:
        raise SpecError("play is for people: `seqrl watch --json` has the same fields")
    task = table(options.task)
    history = solve(task, cache_directory()).values["history"].lower
    print(f"{printable(task.name)}: {task.horizon} steps at most. {BELIEF} shows what a perfect memory believes.")
    steps: list[Step] = []
    try:
        for step in episode(task, lambda moment, paid: Choice(_asked(task, moment, paid)), options.seed):
            steps.append(step)
    except _Left:
        return print("left")
    print(f"  paid {steps[-1].reward:.4g}; the episode is over")
    print(
        f"return {discounted(task, steps):.6g}; the best policy earns {history:.6g} on average; {parted(task, steps)}"
    )


def _asked(task: TabularPOMDP, moment: Moment, paid: float | None) -> int:
    """The action that is typed."""
    choices = " ".join(f"{i}:{printable(name)}" for i, name in enumerate(task.actions))
    before = "" if paid is None else f"  paid {paid:.4g}\n"
    print(f"{before}t={moment.time:<3}sees {printable(task.observations[moment.obs])}   {choices}")
    while True:
        print("> ", end="", flush=True)
        line = sys.stdin.readline()
        if not line:
            raise _Left
        typed = line.strip()
        if typed == BELIEF:
            print(f"  {_without_state(task, moment)}")
            continue
        if typed.isdecimal() and int(typed) < task.num_actions:
            return int(typed)
        try:
            lookup("action", typed, {name: name for name in task.actions})
            return task.actions.index(typed)
        except SpecError as error:
            print(f"  {error}")


def _without_state(task: TabularPOMDP, moment: Moment) -> str:
    """The belief, without telling where one really is."""
    text = believed(task, moment).partition("belief: ")[2]
    advised = "" if moment.values is None else f"; best: {printable(task.actions[int(np.argmax(moment.values))])}"
    return f"belief: {text}{advised}"
