"""`seqrl report`: a page about a directory of results."""

from __future__ import annotations

import argparse

from seqrl_jax.commands.console import print_json
from seqrl_jax.commands.table import show_results
from seqrl_jax.text.page import is_text_run, write_text_page


def run(options: argparse.Namespace) -> None:
    """Write the page and say where it is: of a table's records, or of a run of `seqrl align`."""
    if not is_text_run(options.directory):
        return show_results(options.directory, options.json, table=False)
    path = write_text_page(options.directory)
    if options.json:
        return print_json({"report": str(path)})
    print(f"report: {path}")
