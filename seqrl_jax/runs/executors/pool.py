"""Processes elsewhere that carry out jobs: all that `remote` knows of a cluster."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from seqrl_jax.runs.executors.resources import Resources

Ticket = Hashable
"""Names a job that was submitted."""
Note = Callable[[str], None]
"""Takes a sentence for the user."""


@dataclass(frozen=True)
class Report:
    """A job has ended. answer: what `worker.carry_out` gave; None where it was lost, and `lost` says how."""

    ticket: Ticket
    answer: bytes | None
    lost: str = ""


class Pool(Protocol):
    """Carries out jobs, in any order.

    width: how many may be submitted and not reported. shared_folder: a folder that all workers share, None without one.
    """

    @property
    def width(self) -> int: ...

    @property
    def shared_folder(self) -> Path | None: ...

    def submit(self, job: bytes) -> Ticket:
        """Have `worker.carry_out` called with this, once; a job that is lost is not carried out again."""
        ...

    def wait(self, seconds: float) -> Sequence[Report]:
        """What has ended, after so many seconds at most. Of each job there comes one report or more."""
        ...


class Cluster(Protocol):
    """Where a pool is opened. resources: what each row takes of it."""

    @property
    def resources(self) -> Resources: ...

    def open(self, directory: Path, note: Note) -> AbstractContextManager[Pool]:
        """A pool for the table of a directory; at its end no job goes on. Raises: OSError or ValueError in a line."""
        ...
