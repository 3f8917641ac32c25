"""Fill a table: what is missing of it, row by row, chunk by chunk. Knows no track by name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from seqrl_jax.failures import device_is_full
from seqrl_jax.files import remove_temporaries
from seqrl_jax.results import provenance, store
from seqrl_jax.results.code import fingerprint
from seqrl_jax.results.record import Record
from seqrl_jax.runs import plan
from seqrl_jax.runs.checkpoint import FOLDER, Checkpoint, Origin, begin, checkpoints_in, resume
from seqrl_jax.runs.identity import Identity
from seqrl_jax.runs.interrupt import Interrupt
from seqrl_jax.runs.lock import writing
from seqrl_jax.runs.loop import CheckpointedLoop
from seqrl_jax.runs.observer import Observer, Unwatched
from seqrl_jax.runs.plan import Cell, Order, Row
from seqrl_jax.tracks.base import Outcome, Problem

A_MINUTE = 60.0


def run(
    order: Order, directory: Path, observer: Observer | None = None, interrupt: Interrupt | None = None
) -> list[Record]:
    """Run every cell that `directory` lacks, row by row, and return all cells as they stand there.

    A cell stands if its record has the configuration, task, seeds and code that are asked for. Rows that a killed or
    interrupted run began go on from their checkpoints.

    Raises: lock.Refused; Interrupted, with what was done kept; OSError, if results cannot be written, and MemoryError
    or RuntimeError, if a row is too large, with everything written before it kept; what tracks raise.
    """
    observer, interrupt = observer or Unwatched(), interrupt or Interrupt()
    with _lock(directory):
        remove_temporaries(directory, "*.json")
        # Reports are written without the lock.
        remove_temporaries(directory, older_than=A_MINUTE)
        cells = plan.cells_of(order, fingerprint)
        records, rows = _survey(order, cells, directory, observer)
        observer.starts(len(cells), len(records))
        for row in rows:
            observer.row(row.method, [problem.spec for problem in row.problems], len(row.missing))
            for record in _run_row(order, row, cells, directory, observer, interrupt):
                records[record.method, record.task] = record
                observer.cell(record)
    return [records[cell] for cell in cells]


def check_directory(directory: Path) -> None:
    """Refuse a directory to which `run` could not write now, before anything is computed. Raises: lock.Refused."""
    with _lock(directory):
        pass


def _lock(directory: Path) -> AbstractContextManager[None]:
    return writing(directory, directory / FOLDER / "lock")


def _survey(
    order: Order, cells: Mapping[Cell, Identity], directory: Path, observer: Observer
) -> tuple[dict[Cell, Record], Sequence[Row]]:
    """The records that stand, and the rows to run. Notes whatever does not count, and removes what is stale."""
    written, damage = store.read(directory)
    for message in damage:
        observer.note(f"skipped {message}")
    records, by_other_code = plan.standing(cells, written, order.keep_old)
    if by_other_code:
        what = "are kept" if order.keep_old else "run again (--keep-old keeps them)"
        observer.note(f"{len(by_other_code)} of {len(cells)} cells were made by other code and {what}")
    checkpoints, notes = checkpoints_in(directory)
    for message in notes:
        observer.note(message)
    rows, stale = plan.rows(order, cells, records, checkpoints)
    for old in stale:
        if any((cell.method, cell.task) not in records for cell in old.cells):
            tasks = ", ".join(cell.task for cell in old.cells)
            observer.note(f"what was kept of {old.method} on {tasks} is of another run and begins anew")
        old.remove()
    return records, rows


def _run_row(
    order: Order, row: Row, cells: Mapping[Cell, Identity], directory: Path, observer: Observer, interrupt: Interrupt
) -> Iterator[Record]:
    """Run a row and write its missing cells. Its checkpoint goes when they are all written, not before."""
    here = Origin(provenance.device(), provenance.versions())
    identities = [cells[row.method, problem.spec] for problem in row.problems]
    checkpoint = resume(row.begun, here) if row.begun else begin(directory, identities, here)
    loop = CheckpointedLoop(checkpoint, order.checkpoint_every, observer, interrupt)
    outcomes = _outcomes(order, row, loop)
    commit = provenance.commit()
    with interrupt.under_way():
        for identity, problem, outcome in zip(identities, row.problems, outcomes, strict=True):
            if problem.spec in row.missing:
                record = _record(order, identity, problem, outcome, checkpoint, commit)
                store.write(directory, record)
                yield record
        checkpoint.remove()


def _outcomes(order: Order, row: Row, loop: CheckpointedLoop) -> Sequence[Outcome]:
    """What the row gives; where it does not fit into memory, the error names it."""
    where = f"{row.method} on {', '.join(problem.spec for problem in row.problems)}"
    try:
        return order.track.row(row.method, row.problems, order.budget, loop)
    except MemoryError as error:
        raise MemoryError(f"{where}: {error}") from error
    except RuntimeError as error:
        if not device_is_full(error):
            raise
        raise RuntimeError(f"{where}: {error}") from error


def _record(
    order: Order,
    identity: Identity,
    problem: Problem,
    outcome: Outcome,
    checkpoint: Checkpoint,
    commit: str | None,
) -> Record:
    origins = checkpoint.manifest.origins
    moved = [f"run in parts: {'; then '.join(map(_in_words, origins))}"] if len(origins) > 1 else []
    return Record(
        **msgspec.structs.asdict(identity),
        suite=order.suite,
        **vars(outcome) | {"warnings": [*outcome.warnings, *moved]},
        bounds=dict(problem.bounds),
        steps_asked=order.budget.steps,
        cells=len(checkpoint.cells),
        versions=origins[-1].versions,
        device=origins[-1].device,
        commit=commit,
        command=provenance.command(),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def _in_words(origin: Origin) -> str:
    return f"on {origin.device} with {', '.join(f'{name} {version}' for name, version in origin.versions.items())}"
