"""What a worker is given and what it answers, as JSON: names and settings in, records out. Nothing is pickled."""

from __future__ import annotations

import hashlib

import msgspec

from seqrl_jax.results.record import Record
from seqrl_jax.runs.identity import Identity


class Job(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A row to run elsewhere.

    cells: what the cells of the row are to be, those that have a record already among them. steps, evaluations,
    checkpoint_every: see `tracks.base.Budget` and `runs.plan.Order`; seeds stand in each cell. cores: of a CPU, each a
    device of the program. environment: variables to set before JAX starts. folder: where the command was given; names
    of files start there. shared_folder: for the row's state, which outlives the worker there; None where no disk is
    shared.
    """

    cells: list[Identity]
    steps: int
    evaluations: int
    checkpoint_every: int
    cores: int
    environment: dict[str, str]
    folder: str
    shared_folder: str | None

    @property
    def digest(self) -> str:
        """A name for the row."""
        return hashlib.sha256(" ".join(cell.digest for cell in self.cells).encode()).hexdigest()[:16]


class Answer(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What became of a job on a host: its records, or why there are none, in a line."""

    host: str
    records: list[Record]
    failure: str | None = None


def encode(message: Job | Answer) -> bytes:
    """As it travels."""
    return msgspec.json.encode(message)


def decode_job(content: bytes) -> Job:
    """Raises: ValueError, for that of another version."""
    return msgspec.json.decode(content, type=Job)


def decode_answer(content: bytes) -> Answer:
    """Raises: ValueError, for that of another version, or with a record that cannot be."""
    return msgspec.json.decode(content, type=Answer)
