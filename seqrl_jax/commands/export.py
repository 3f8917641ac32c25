"""`seqrl export`: the arrays of a task as a file."""

from __future__ import annotations

import argparse

from seqrl_jax.commands.console import print_json
from seqrl_jax.tasks.export import export
from seqrl_jax.tasks.registry import make


def run(options: argparse.Namespace) -> None:
    """Write the file."""
    export(make(options.task), options.out)
    if options.json:
        return print_json({"task": options.task, "out": str(options.out)})
    print(f"wrote {options.out}")
