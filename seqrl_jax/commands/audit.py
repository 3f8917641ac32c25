"""`seqrl audit`: which methods are valid under partial observability, and where a language model is aligned."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence

from rich.console import Console

from seqrl_jax.audit import language
from seqrl_jax.audit.audit import audit
from seqrl_jax.audit.luck import add_luck
from seqrl_jax.audit.report import as_json, console_audit, write_audit
from seqrl_jax.commands.console import note, print_json
from seqrl_jax.commands.progress import bars
from seqrl_jax.commands.tasks import as_game, named
from seqrl_jax.exact.solve import cache_directory, solve
from seqrl_jax.lm.tasks import TASKS as LANGUAGE_TASKS
from seqrl_jax.lm.tasks import make_task
from seqrl_jax.runs.programs import keep_compiled_programs
from seqrl_jax.tasks.registry import TASKS
from seqrl_jax.tasks.tabular import TabularPOMDP


def run(options: argparse.Namespace) -> None:
    """Print the table, and write it."""
    keep_compiled_programs()
    specs = options.tasks or [*TASKS, *language.names()]
    with bars() as bar:
        tasks = [named(spec) for spec in specs if spec not in LANGUAGE_TASKS]
        texts = [language.listed(make_task(spec)) for spec in specs if spec in LANGUAGE_TASKS]
        result = audit(tasks, _best_memoryless(tasks, bar("solving")), bar("auditing"))
        add_luck(result, [as_game(spec) for spec in specs if spec not in LANGUAGE_TASKS], bar("auditing luck"))
        progress = bar("auditing language")
        for number, task in enumerate(texts):
            result.language += language.language_rows(task)
            progress(number + 1, len(texts))
    if options.json:
        print_json(as_json(result))
    else:
        Console().print(console_audit(result))
    for path in write_audit(result, options.out) if options.out else ():
        note(f"wrote {path}")


def _best_memoryless(tasks: Sequence[TabularPOMDP], progress: Callable[[int, int], None]) -> list[float]:
    best = []
    for task in tasks:
        best.append(solve(task, cache_directory()).values["memoryless_stochastic"].lower)
        progress(len(best), len(tasks))
    return best
