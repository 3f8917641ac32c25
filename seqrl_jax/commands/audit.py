"""`seqrl audit`: which methods are valid under partial observability."""

from __future__ import annotations

import argparse

from rich.console import Console

from seqrl_jax.audit.audit import audit
from seqrl_jax.audit.report import as_json, console_audit, write_audit
from seqrl_jax.commands.console import note, print_json
from seqrl_jax.commands.programs import keep_compiled_programs
from seqrl_jax.commands.progress import bars
from seqrl_jax.tasks.registry import TASKS
from seqrl_jax.tracks.pomdp import solved


def run(options: argparse.Namespace) -> None:
    """Print the table, and write it."""
    keep_compiled_programs()
    with bars() as bar:
        problems = solved(tuple(options.tasks or TASKS), bar("solving"))
        best = [problem.solution.values["memoryless_stochastic"].lower for problem in problems]
        result = audit([problem.task for problem in problems], best, bar("auditing"))
    if options.json:
        print_json(as_json(result))
    else:
        Console().print(console_audit(result))
    for path in write_audit(result, options.out) if options.out else ():
        note(f"wrote {path}")
