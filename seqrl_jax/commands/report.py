"""`seqrl report`: a page about a directory of results."""

from __future__ import annotations

import argparse

from seqrl_jax.commands.table import show_results


def run(options: argparse.Namespace) -> None:
    """Write the page and say where it is."""
    show_results(options.directory, options.json, table=False)
