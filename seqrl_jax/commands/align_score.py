"""`seqrl align score`: what a model says of a file's answers."""

from __future__ import annotations

import argparse

from seqrl_jax.commands.align import with_ends
from seqrl_jax.commands.console import note, print_json
from seqrl_jax.runs.programs import keep_compiled_programs
from seqrl_jax.text.use import scored


def run(options: argparse.Namespace) -> None:
    """Score and print."""
    keep_compiled_programs()
    result = scored(options.directory, options.data, options.skip_bad)
    for remark in result.remarks:
        note(remark)
    if options.json:
        return print_json(result._asdict())
    if result.truncated:
        note(f"{result.truncated} examples are longer than the context and are cut")
    what = "reward" if result.what == "reward" else "log-probability, nats"
    print(f"{len(result.values)} examples")
    print(f"  {what + ' of the first answer':<46}{with_ends(result.mean)}")
    if result.preferred:
        print(f"  {'prefers what was chosen':<46}{with_ends(result.preferred)}")
