"""`seqrl completion`: a script by which a shell completes commands, options and names."""

from __future__ import annotations

import argparse

from seqrl_jax.commands.arguments import parser
from seqrl_jax.commands.console import print_json
from seqrl_jax.completion import SHELLS, commands
from seqrl_jax.tracks.registry import TRACKS
from seqrl_jax.tracks.suites import SUITES


def run(options: argparse.Namespace) -> None:
    """Print the script."""
    script = SHELLS[options.shell](commands(parser(), names()))
    if options.json:
        return print_json({"shell": options.shell, "script": script})
    print(script, end="")


def names() -> dict[str, list[str]]:
    """The words that arguments take, by the names of these."""
    tasks = [name for track in TRACKS.values() for name in track.tasks]
    agents = [name for track in TRACKS.values() for name in track.methods]
    games = list(TRACKS["dialogue"].tasks)
    return {
        "task": tasks,
        "tasks": tasks,
        "game": games,
        "agent": agents,
        "agents": agents,
        "improvement": agents,
        "suite": list(SUITES),
        "name": [*tasks, *agents, *SUITES],
    }
