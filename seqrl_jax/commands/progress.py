"""Progress bars."""

from __future__ import annotations

import contextlib
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn


def bars() -> Any:
    """A context that gives `name -> progress`, drawn on stderr while it is a terminal."""
    columns = (TextColumn("{task.description:<18}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())

    @contextlib.contextmanager
    def shown() -> Any:
        console = Console(stderr=True)
        with Progress(*columns, console=console, disable=not console.is_terminal) as bars:

            def bar(name: str) -> Any:
                line = bars.add_task(name, total=None)
                return lambda done, total: bars.update(line, completed=done, total=total)

            yield bar

    return shown()
