"""`seqrl cite`: how a release is cited, if it is still what was released."""

from __future__ import annotations

import argparse
from dataclasses import asdict

from seqrl_jax.commands.console import print_json
from seqrl_jax.release import bibtex, checked


def run(options: argparse.Namespace) -> None:
    """Print the entry. Raises: ReleaseError where a file is not what it was."""
    release = checked(options.directory)
    if options.json:
        return print_json({**asdict(release), "bibtex": bibtex(release)})
    print(bibtex(release), end="")
