"""Fill a table: what is missing of it, row by row. Knows no track by name, nor where rows run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from seqrl_jax import hosts
from seqrl_jax.files import remove_temporaries
from seqrl_jax.results import store
from seqrl_jax.results.code import fingerprint
from seqrl_jax.results.record import Record
from seqrl_jax.runs import plan
from seqrl_jax.runs.checkpoint import FOLDER, checkpoints_in
from seqrl_jax.runs.executors.base import Executor, Table
from seqrl_jax.runs.executors.local import Local
from seqrl_jax.runs.identity import Identity
from seqrl_jax.runs.interrupt import Interrupt
from seqrl_jax.runs.lock import writing
from seqrl_jax.runs.observer import Observer, Unwatched
from seqrl_jax.runs.plan import Cell, Order, Row

A_MINUTE = 60.0


def run(
    order: Order,
    directory: Path,
    observer: Observer | None = None,
    interrupt: Interrupt | None = None,
    executor: Executor | None = None,
) -> list[Record]:
    """Run every cell that `directory` lacks, and return all cells as they stand there.

    A cell stands if its record has the configuration, task, seeds and code that are asked for. executor: where rows
    run; in this process unless it says otherwise. Of several processes (`hosts`) all call this, with a directory that
    all see, and the first one writes.

    Raises: lock.Refused; Interrupted, with what was done kept; OSError, if results cannot be written, and what the
    executor raises, with everything written before it kept.
    """
    observer, interrupt, executor = observer or Unwatched(), interrupt or Interrupt(), executor or Local()
    with hosts.held_by_first(_lock(directory)):
        cells = plan.cells_of(order, fingerprint)
        # What is damaged or stale is gone when the others look.
        records, rows = hosts.first_then_others(lambda: _survey(order, cells, directory, observer))
        hosts.require_same("what is to run", [_as_said(cells, row) for row in rows])
        observer.starts(len(cells), len(records))
        for record in executor.fill(Table(order, cells, directory, observer, interrupt), rows):
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
    remove_temporaries(directory, "*.json")
    # Reports are written without the lock.
    remove_temporaries(directory, older_than=A_MINUTE)
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


def _as_said(cells: Mapping[Cell, Identity], row: Row) -> dict[str, Any]:
    """A row, for a comparison."""
    digests = [cells[row.method, problem.spec].digest for problem in row.problems]
    return {"cells": digests, "missing": sorted(row.missing), "begun": row.begun is not None}
