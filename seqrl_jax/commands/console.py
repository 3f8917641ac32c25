"""How commands speak: JSON for machines, columns for people, notes on stderr."""

from __future__ import annotations

import json
import shutil
import sys
import textwrap
from collections.abc import Sequence
from typing import Any

from seqrl_jax.figures import printable


def print_json(value: Any) -> None:
    """Strict JSON on stdout."""
    print(json.dumps(value, indent=1, allow_nan=False))


def print_columns(title: str, rows: Sequence[tuple[str, str]]) -> None:
    """Names and what they are, wrapped to the terminal."""
    width = max(60, min(110, shutil.get_terminal_size().columns))
    column = max([20, *(len(name) + 1 for name, _ in rows)])
    print(title)
    for name, about in rows:
        print(textwrap.fill(f"  {name:<{column}}{about}", width, subsequent_indent=" " * (column + 2)))
    print()


def note(message: Warning | str, *_: Any, **__: Any) -> None:
    """One line on stderr; also what shows a warning."""
    print(f"note: {one_line(message)}", file=sys.stderr)


def one_line(message: object) -> str:
    """A message without its line breaks, and without anything that could steer a terminal."""
    return printable(" ".join(str(message).split())) or type(message).__name__


def of_system(error: OSError) -> str:
    """Which place the system refused, and why; of an error that names none, what it says."""
    return f"{error.filename}: {error.strerror}" if error.filename and error.strerror else str(error)
