"""`seqrl report`: a page about a directory of results."""

from __future__ import annotations

import argparse

from seqrl_jax.commands.table import tell


def run(options: argparse.Namespace) -> None:
    """Write the page and say where it is."""
    tell(options.directory, options.json, table=False)
