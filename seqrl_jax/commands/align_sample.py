"""`seqrl align sample`: what a model says behind a prompt."""

from __future__ import annotations

import argparse

from seqrl_jax.commands.console import print_json
from seqrl_jax.figures import printable
from seqrl_jax.runs.programs import keep_compiled_programs
from seqrl_jax.text.use import continuations


def run(options: argparse.Namespace) -> None:
    """Draw and print."""
    keep_compiled_programs()
    said = continuations(
        options.directory,
        options.prompt,
        options.length,
        options.count,
        options.temperature,
        options.seed,
        options.chat,
    )
    if options.json:
        return print_json({"prompt": options.prompt, "said": said})
    for text in said:
        print("\n".join(map(printable, text.split("\n"))))
