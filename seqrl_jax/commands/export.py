"""`seqrl export`: the arrays of a task as a file."""

from __future__ import annotations

import argparse

from seqrl_jax.commands.console import print_json
from seqrl_jax.commands.tasks import named
from seqrl_jax.tasks.export import export


def run(options: argparse.Namespace) -> None:
    """Write the file."""
    export(named(options.task), options.out)
    if options.json:
        return print_json({"task": options.task, "out": str(options.out)})
    print(f"wrote {options.out}")
