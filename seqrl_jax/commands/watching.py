"""Who watches a run for the people at its terminal, or for those who read its log."""

from __future__ import annotations

from typing import Protocol, Self

from rich.console import Console

from seqrl_jax import hosts
from seqrl_jax.commands.dashboard import Dashboard
from seqrl_jax.commands.progress import Lines
from seqrl_jax.runs.observer import Observer, Unwatched
from seqrl_jax.tracks.base import Track


class Watching(Observer, Protocol):
    """An observer that is there for as long as a context lasts, from before the tasks are solved."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...

    def solving(self, done: int, total: int) -> None:
        """Problems are made ready."""
        ...


class Silent(Unwatched):
    """Shows nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def solving(self, done: int, total: int) -> None:
        pass


def watching(track: Track, console: Console) -> Watching:
    """A board that changes on a terminal that can move its cursor, else a line for each cell; nothing in a process that
    does not print."""
    if not hosts.is_first():
        return Silent()
    return Dashboard(track, console) if console.is_interactive else Lines(track.columns[0], console)
